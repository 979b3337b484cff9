"""Accepts checkouts of the product without HTTP: `python -m benchmarks.accept`, order ids as JSON on stdin.

The same domain function, transaction and publisher as behind the web's route. The hints leave when all is stored,
so a message carries as many ids as it does under load.
"""

from __future__ import annotations

import json
import sys

from core import settings
from core.database import transaction
from core.domain import accounts, payments
from core.domain.jobs import Request
from web import hints

PER_TRANSACTION = 50
FLUSH_SECONDS = 30.0


def accept(order_ids: list[str]) -> None:
    """Accept a checkout of each order, then hint at all of them.

    Raises:
        TimeoutError: the broker did not take the hints in time.
    """
    accepted = []
    for start in range(0, len(order_ids), PER_TRANSACTION):
        with transaction() as conn:  # one commit for many, since accepting is not what is measured here
            accepted += [
                payments.request_checkout(
                    conn,
                    account_id=accounts.DEFAULT,
                    order_id=order_id,
                    request=Request(
                        id=f"bench-{order_id}", scope="POST /orders/{id}/checkout", key=f"checkout-{order_id}",
                        fingerprint=order_id,
                    ),
                )
                for order_id in order_ids[start : start + PER_TRANSACTION]
            ]  # fmt: skip
    for one in accepted:
        hints.send(one)
    if not hints.publisher().flush(FLUSH_SECONDS):
        raise TimeoutError("the broker did not take the hints")


if __name__ == "__main__":
    settings.start()
    accept(json.load(sys.stdin))
