"""What no webhook told us: Stripe's events, walked into the inbox that the webhook door uses."""

from __future__ import annotations

import json
import time
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from core import get_logger, payment
from core.crashpoints import crash_point
from core.domain import jobs, webhooks
from worker.flows.evidence import stripe_is_on
from worker.flows.walk import Walk
from worker.work import Work

logger = get_logger(__name__)

CURSOR = "events"
PAGES_PER_RUN, SECONDS_PER_RUN = 20, 20.0
"""Then the job goes on in a next attempt, so that a worker that stops need not wait for it, nor one that runs alone."""


def backfill_events(work: Work) -> None:
    """Store the events since the last walk. A walk goes from the newest to the oldest, and on where it stopped."""
    if not stripe_is_on():
        with work.succeed({"skipped": "Stripe is switched off"}):
            return
    walk, added = Walk(work, CURSOR, payment.list_events), 0
    for events in walk.pages(PAGES_PER_RUN, until=time.monotonic() + SECONDS_PER_RUN):
        with work.step() as conn:
            # In the order in which webhooks that arrive together are stored, so that neither waits for the other.
            added += sum(_receive(conn, event) for event in sorted(events, key=itemgetter("id")))
            walk.keep(conn)
        crash_point("backfill.page_kept")
    if added:
        logger.warning("events that no webhook brought", extra={"count": added})
    if walk.unfinished:
        with work.again(0.0, "there are more pages of events", spends_attempt=False):
            return
    with work.succeed({"added": added}):
        pass


def _receive(conn: Connection, event: dict[str, Any]) -> bool:
    made = webhooks.receive(
        conn,
        event_id=event["id"],
        type=event["type"],
        api_version=event.get("api_version"),
        livemode=event["livemode"],
        payload=json.dumps(event, separators=(",", ":")),
        accepted=event["livemode"] == payment.livemode(),
        request=jobs.Request(),
    )
    return made is not None and made.fresh
