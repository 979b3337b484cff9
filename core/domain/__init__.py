"""What the business knows: each table beside its rules. Functions take a connection and return values, never rows."""
