"""Findings: where Stripe and we differ."""

from __future__ import annotations

from flask import Response

from core.database import reading
from core.domain import accounts, findings
from web import answers
from web.auth import Caller
from web.bodies import FindingsQuery
from web.routing import Routes, reply

routes = Routes("Findings")


@routes.get(
    "/findings",
    "List where Stripe and we differ",
    scope=accounts.OPERATE,
    query=FindingsQuery,
    answers={200: (answers.Findings,)},
)
def list_findings(caller: Caller, query: FindingsQuery) -> Response:
    """List the account's findings, oldest first, at most a hundred."""
    status = None if query.status == "all" else query.status
    with reading() as conn:
        found = findings.listed(conn, caller.account_id, status)
    return reply(answers.Findings.model_validate({"findings": found}))
