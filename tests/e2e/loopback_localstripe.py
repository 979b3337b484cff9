"""localstripe on the loopback interface: `python loopback_localstripe.py PORT`.

Its own command listens on all interfaces and keeps a pickle under a fixed name. What its PaymentIntents lack or show
differently from the API's reference (docs.stripe.com/api/payment_intents/object) is put right here.
"""

from __future__ import annotations

import sys
from typing import Any

from aiohttp import web
from localstripe import resources, server


def _amount_received(intent: Any) -> int:
    return int(intent.amount) if intent.status == "succeeded" else 0


def _export(intent: Any, expand: list[str] | None = None) -> Any:
    shown = _shown(intent, expand)
    if isinstance(shown["latest_charge"], dict) and "latest_charge" not in (expand or []):
        shown["latest_charge"] = shown["latest_charge"]["id"]
    return shown


_shown = resources.PaymentIntent._export

if __name__ == "__main__":
    resources.PaymentIntent.amount_received = property(_amount_received)
    resources.PaymentIntent._export = _export
    resources.Store.dump_to_disk = lambda _: None
    web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
