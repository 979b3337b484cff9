"""One module per Stripe resource: its object's shape and its endpoints."""
