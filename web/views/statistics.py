"""Statistics: of a customer, of the shop, and their rebuild."""

from __future__ import annotations

from typing import Any

from flask import Response

from core import cache
from core.database import reading
from core.domain import accounts, customers, statistics
from core.errors import NotFound
from core.money import check_currency
from web import answers
from web.acceptance import accept, idempotency_key, job_request, outcome
from web.auth import Caller
from web.bodies import NewRecompute, Period
from web.headers import IDEMPOTENCY_KEY, PREFER
from web.routing import Routes, reply

routes = Routes("Statistics")

FRESH_SECONDS = 60


@routes.get(
    "/users/<user_id>/statistics",
    "Show a customer's numbers",
    scope=accounts.READ,
    answers={200: (answers.UserStatistics,)},
    problems=(404,),
)
def user_statistics(caller: Caller, user_id: str) -> Response:
    """Show a customer's numbers, at most a minute old (see `as_of`)."""

    def count() -> dict[str, Any]:
        with reading() as conn:
            if customers.find(conn, caller.account_id, user_id) is None:
                raise NotFound("there is no such user")
            found = statistics.of_user(conn, caller.account_id, user_id)
        return answers.UserStatistics.model_validate(found).model_dump(mode="json")

    shown = cache.get_or_compute(f"stats:{caller.account_id}:{user_id}", count, ttl=FRESH_SECONDS)
    return reply(answers.UserStatistics.model_validate(shown))


@routes.get(
    "/statistics",
    "Show the shop's days and totals",
    scope=accounts.READ,
    query=Period,
    answers={200: (answers.ShopStatistics,)},
)
def shop_statistics(caller: Caller, query: Period) -> Response:
    """Show the shop's days as last rebuilt (see `as_of`), and their totals per currency."""
    currency = check_currency(query.currency) if query.currency else None
    with reading() as conn:
        found = statistics.of_shop(conn, caller.account_id, query.from_, query.to, currency)
    return reply(answers.ShopStatistics.model_validate(found))


@routes.post(
    "/statistics/recompute",
    "Have the statistics rebuilt",
    scope=accounts.OPERATE,
    body=NewRecompute,
    headers=(IDEMPOTENCY_KEY, PREFER),
    answers={202: (answers.JobAccepted,), 200: (answers.RecomputeDone,)},
)
def recompute_statistics(caller: Caller, body: NewRecompute) -> Response:
    """Have the shop's days rebuilt now; a schedule does it as well."""
    asked = job_request(body, idempotency_key())
    accepted = accept(lambda conn: statistics.request_recompute(conn, account_id=caller.account_id, request=asked))
    return outcome(accepted, answers.RecomputeDone)
