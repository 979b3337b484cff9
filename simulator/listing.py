"""Cursor lists: newest first, limit, starting_after, ending_before, created ranges (docs.stripe.com/api/pagination)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from simulator.errors import JSON, ApiError, invalid, no_such
from simulator.operation import Operation
from simulator.resources.read_only import oldest_event, with_pending
from simulator.store import public

Handler = Callable[[Operation, JSON, str], JSON]
_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_UNDELIVERED = "EXISTS (SELECT 1 FROM deliveries WHERE event = objects.id AND state <> 'delivered')"


def lister(kind: str, url: str, *filters: str) -> Handler:
    """The list endpoint of a resource; `filters` are parameters that are columns of the objects table."""

    def handle(op: Operation, given: JSON, _: str) -> JSON:
        where, values = ["kind = ?"], [kind]
        if kind == "customer":
            where.append("json_extract(body, '$.deleted') IS NULL")
        for name in filters:
            if given.get(name) is not None:
                where.append(f"{name} = ?")
                values.append(given[name])
        if given.get("currency") is not None:
            where.append("json_extract(body, '$.currency') = ?")
            values.append(given["currency"])
        _narrow(given, where, values, indexed=len(where) == 1)
        return page(op, kind, url, where, values, given)

    return handle


def events(op: Operation, given: JSON, _: str) -> JSON:
    """GET /v1/events: of the last 30 days, by type, types[], created and delivery_success."""
    # the + keeps SQLite from sorting 30 days by `created` instead of walking back from the newest
    where, values = ["kind = 'event'", "+created >= ?"], [oldest_event(op)]
    if "type" in given and "types" in given:
        raise invalid("You may only specify one of these parameters: type, types.", "type")
    wanted = given.get("types") or [given[name] for name in ("type",) if given.get(name)]
    if wanted:
        where.append("(" + " OR ".join(["type GLOB ?"] * len(wanted)) + ")")
        values += wanted
    _narrow(given, where, values, indexed=True)
    if "delivery_success" in given:
        where.append(("NOT " if given["delivery_success"] else "") + _UNDELIVERED)
    answer = page(op, "event", "/v1/events", where, values, given)
    answer["data"] = [with_pending(op, event) for event in answer["data"]]
    return answer


def _narrow(given: JSON, where: list[str], values: list[Any], *, indexed: bool) -> None:
    """Add the created range. Where a narrower filter should pick the index, + keeps SQLite from using this one."""
    column = "created" if indexed else "+created"
    for name, second in given.get("created", {}).items():
        where.append(f"{column} {_COMPARE[name]} ?")
        values.append(second)


def page(op: Operation, kind: str, url: str, where: list[str], values: list[Any], given: JSON) -> JSON:
    """One page of the objects that match.

    Raises:
        ApiError: 400 for a cursor that is no such object, or two cursors.
    """
    after, before = given.get("starting_after"), given.get("ending_before")
    if after and before:
        raise invalid("You may only specify one of these parameters: starting_after, ending_before.", "ending_before")
    limit, order = given.get("limit", 10), "DESC"
    if after:
        where, values = [*where, "seq < ?"], [*values, _position(op, kind, after, "starting_after")]
    if before:
        where, values = [*where, "seq > ?"], [*values, _position(op, kind, before, "ending_before")]
        order = "ASC"
    rows = op.tx.execute(
        # the fragments are this module's own; what a caller sent is bound
        f"SELECT body FROM objects WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?",  # noqa: S608
        [*values, limit + 1],
    ).fetchall()
    data = [public(json.loads(row[0])) for row in rows[:limit]]
    if before:
        data.reverse()
    return {"object": "list", "data": data, "has_more": len(rows) > limit, "url": url}


def _position(op: Operation, kind: str, object_id: str, param: str) -> int:
    row = op.tx.execute("SELECT seq FROM objects WHERE id = ? AND kind = ?", (object_id, kind)).fetchone()
    if row is None:
        missing: ApiError = no_such(kind, object_id, param)
        raise missing
    return int(row[0])
