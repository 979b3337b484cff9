"""What a person reads when the stack is up."""

from __future__ import annotations

from core.settings import Settings
from stack.embedded import uses_simulator, web_url

ORDER = (
    '{"user": {"email": "ada@example.com", "full_name": "Ada"}, "currency": "usd", '
    '"items": [{"name": "Tea", "unit_amount": 1250, "quantity": 2}]}'
)


def lines(settings: Settings) -> list[str]:
    """Addresses, the API key of dev, and a first call to try."""
    web = web_url(settings)
    key = settings.bootstrap_api_key
    return [
        f"web        {web}  (docs at {web}/docs)",
        *([f"simulator  {settings.stripe_api_base}"] if uses_simulator(settings) else []),
        f"flower     http://127.0.0.1:{settings.flower_port}",
        f"state      {settings.state_dir}",
        *([f"API key    {key.get_secret_value()}"] if key else []),
        "",
        "Make an order:",
        f"  curl -s {web}/orders -H 'Authorization: Bearer {key.get_secret_value() if key else '<key>'}' \\",
        f"    -H 'Content-Type: application/json' -d '{ORDER}'",
        "",
    ]
