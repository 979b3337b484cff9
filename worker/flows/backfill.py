"""What no webhook told us: Stripe's events, walked into the inbox that the webhook door uses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from core import get_logger, payment
from core.clock import utcnow
from core.crashpoints import crash_point
from core.database import reading
from core.domain import cursors, jobs, webhooks
from core.payments import PaymentRefused
from worker.flows.evidence import stripe_is_on
from worker.work import Work

logger = get_logger(__name__)

CURSOR = "events"
OVERLAP = timedelta(minutes=10)
"""Events are asked for again this far back: `created` has seconds only, and they become visible out of order."""
FIRST_LOOK_BACK = timedelta(days=1)
PAGES_PER_RUN = 20
"""Then the job goes on in a next attempt, so that a worker that stops need not wait for it."""


def backfill_events(work: Work) -> None:
    """Store the events since the last walk. A walk goes from the newest to the oldest, and on where it stopped."""
    if not stripe_is_on():
        with work.succeed({"skipped": "Stripe is switched off"}):
            return
    with reading() as conn:
        place = cursors.place(conn, CURSOR) or {"since": int((utcnow() - FIRST_LOOK_BACK).timestamp())}
    added = 0
    for _ in range(PAGES_PER_RUN):
        page = _page(work, place)
        with work.step() as conn:
            added += sum(_receive(conn, event) for event in page["data"])
            place = _next(place, page)
            cursors.move(conn, CURSOR, place)
        crash_point("backfill.page_kept")
        if not place.get("after"):
            break
    if added:
        logger.warning("events that no webhook brought", extra={"count": added})
    if place.get("after"):
        with work.again(0.0, "there are more pages of events", spends_attempt=False):
            return
    with work.succeed({"added": added}):
        pass


def _page(work: Work, place: dict[str, Any]) -> dict[str, Any]:
    work.check_time()
    try:
        return payment.list_events(starting_after=place.get("after"), created_gte=place["since"])
    except PaymentRefused:
        if not place.get("after"):
            raise
        # The event where the walk stopped is gone (Stripe shows 30 days, or it is another Stripe account now).
        logger.warning("the walk starts again", extra={"after": place["after"]})
        del place["after"]
        return _page(work, place)


def _next(place: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """Where the walk stands after a page: `since` only moves when the whole span was walked, and never back."""
    events, since = page["data"], place["since"]
    until = max([place.get("until", since), *(event["created"] for event in events)])
    if page["has_more"] and events:
        return {"since": since, "until": until, "after": events[-1]["id"]}
    return {"since": max(since, until - int(OVERLAP.total_seconds()))}


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
