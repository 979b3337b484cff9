"""A walk over one of Stripe's lists: page by page, from a stored place, from the newest back to the last walk's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from math import inf
from typing import Any

from sqlalchemy import Connection

from core import get_logger
from core.clock import utcnow
from core.database import reading
from core.domain import cursors
from core.payments import PaymentRefused
from worker.work import Work

logger = get_logger(__name__)

OVERLAP = timedelta(minutes=10)
"""Lists are asked again this far back: `created` has seconds only, and objects become visible out of order."""
FIRST_LOOK_BACK = timedelta(days=1)

Page = list[dict[str, Any]]


class Walk:
    """One list's walk, on from where it stopped. Whoever takes a page keeps it before asking for the next.

    Args:
        work: whose lease it runs under.
        name: of the cursor.
        listed: asks Stripe for one page, by `starting_after` and `created_gte`.
        first: where the first walk ends, in Unix seconds; a day back if that is None.
    """

    def __init__(
        self,
        work: Work,
        name: str,
        listed: Callable[..., dict[str, Any]],
        first: Callable[[Connection], int | None] = lambda conn: None,
    ) -> None:
        self._work, self._name, self._listed = work, name, listed
        with reading() as conn:
            self._place = cursors.place(conn, name) or {"since": first(conn) or int(_a_day_ago())}
        self._reached = self._place
        self._last: Page = []

    @property
    def unfinished(self) -> bool:
        """Whether there are more pages."""
        return bool(self._place.get("after"))

    def pages(self, most: int, until: float = inf) -> Iterator[Page]:
        """The next pages, at most so many: then the job goes on in a next attempt.

        Args:
            until: `time.monotonic()` after which no other page follows.

        Raises:
            Retryable: Stripe could not be asked, or too little of the lease was left.
            PaymentRefused: Stripe refuses the span itself.
        """
        for _ in range(most):
            page = self._page()
            self._reached = _next(self._place, page)
            self._last = page["data"]
            yield self._last
            if not self.unfinished or time.monotonic() > until:
                return

    def keep(self, conn: Connection, count: int | None = None) -> None:
        """Move the stored place past the last page, in the transaction that stored what came of it.

        Args:
            count: only past so many of its objects, the rest comes again; None for all.
        """
        if count is not None and count < len(self._last):
            self._reached = _next(self._place, {"data": self._last[:count], "has_more": True})
        cursors.move(conn, self._name, self._reached)
        self._place = self._reached

    def _page(self) -> dict[str, Any]:
        self._work.check_time()
        try:
            return self._listed(starting_after=self._place.get("after"), created_gte=self._place["since"])
        except PaymentRefused:
            if not self.unfinished:
                raise
            # The object where the walk stopped is gone (Stripe shows events for 30 days), or it is another account.
            logger.warning("the walk starts again", extra={"list": self._name, "after": self._place["after"]})
            self._place = {name: value for name, value in self._place.items() if name != "after"}
            return self._page()


def _next(place: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """Where the walk stands after a page: `since` only moves when the whole span was walked, and never back."""
    found, since = page["data"], place["since"]
    until = max([place.get("until", since), *(one["created"] for one in found)])
    if page["has_more"] and found:
        return {"since": since, "until": until, "after": found[-1]["id"]}
    return {"since": max(since, until - int(OVERLAP.total_seconds()))}


def _a_day_ago() -> float:
    return (utcnow() - FIRST_LOOK_BACK).timestamp()
