"""The control API under /_sim: the witness, the clock, the faults, and what banks and customers do.

Loopback only and without a key; no part of it exists at Stripe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from simulator import journal, ledger, payments
from simulator.api import Api
from simulator.clock import Clock
from simulator.errors import JSON, ApiError, invalid, unknown_url
from simulator.faults import FaultPlan, PlanError
from simulator.messages import Answer, Request, json_answer
from simulator.operation import Operation
from simulator.resources import disputes, refunds
from simulator.store import Store

Args = Mapping[str, Any]
Effect = Callable[[Operation, str, Args], JSON]

PAGE = """<!doctype html><title>Authenticate</title><p>Test authentication of {intent}</p>
<form method="post" action="?outcome=succeeded"><button>Complete</button></form>
<form method="post" action="?outcome=failed"><button>Fail</button></form>
"""


def _choice(args: Args, name: str, *choices: str) -> str:
    if args.get(name) not in choices:
        raise invalid(f"{name} must be one of {', '.join(choices)}", name)
    return str(args[name])


def _dispute(op: Operation, charge: str, args: Args) -> JSON:
    amount = args.get("amount")
    return disputes.open_dispute(
        op,
        charge,
        reason=str(args.get("reason", "fraudulent")),
        amount=None if amount is None else int(amount),
        inquiry=args.get("inquiry") in (True, "true"),
    )


EFFECTS: dict[tuple[str, str], Effect] = {
    ("refunds", "settle"): lambda op, refund, _: refunds.settle(op, refund),
    ("refunds", "fail"): lambda op, refund, _: refunds.fail(op, refund),
    ("refunds", "require_action"): lambda op, refund, _: refunds.require_action(op, refund),
    ("charges", "dispute"): _dispute,
    ("disputes", "close"): lambda op, dispute, args: disputes.decide(
        op, dispute, won=_choice(args, "outcome", "won", "lost") == "won"
    ),
    ("payment_intents", "authenticate"): lambda op, intent, args: payments.authenticate(
        op, intent, succeeded=_choice(args, "outcome", "succeeded", "failed") == "succeeded"
    ),
    ("payment_intents", "settle"): lambda op, intent, _: payments.finish_processing(op, intent, succeeded=True),
    ("payment_intents", "fail"): lambda op, intent, _: payments.finish_processing(op, intent, succeeded=False),
}
"""(collection, verb) of POST /_sim/{collection}/{id}/{verb}."""


class Control:
    """Answers /_sim requests."""

    def __init__(self, api: Api, store: Store, clock: Clock, faults: FaultPlan) -> None:
        self._api, self._store, self._clock, self._faults = api, store, clock, faults
        self._endpoints: dict[tuple[str, str], Callable[[Args], JSON]] = {
            ("GET", "health"): self._health,
            ("GET", "ledger"): self._ledger,
            ("GET", "requests"): self._requests,
            ("GET", "deliveries"): self._deliveries,
            ("GET", "faults"): lambda _: self._faults.shown(),
            ("POST", "faults"): self._plan,
            ("DELETE", "faults"): lambda _: self._plan({}),
            ("POST", "clock"): self._jump,
            ("POST", "reset"): self._reset,
        }

    def handle(self, request: Request) -> Answer:
        """Answer with JSON; errors in the API's envelope."""
        try:
            args = _arguments(request)
            return self._dispatch(request, request.path.removeprefix("/_sim/").split("/"), args)
        except ApiError as refusal:
            return json_answer(refusal.status, refusal.body())
        except (PlanError, ValueError) as error:
            return json_answer(400, invalid(str(error)).body())

    def _dispatch(self, request: Request, parts: list[str], args: Args) -> Answer:
        whole = (request.method, "/".join(parts))
        if whole in self._endpoints:
            return json_answer(200, self._endpoints[whole](args))
        match request.method, parts:
            case "GET", ["payment_intents", intent, "authenticate"] if intent.isidentifier():
                return Answer(200, PAGE.format(intent=intent).encode(), {"Content-Type": "text/html; charset=utf-8"})
            case "POST", [kind, object_id, verb] if (kind, verb) in EFFECTS:
                with self._api.operation() as op:
                    item = EFFECTS[kind, verb](op, object_id, args)
                return json_answer(200, item)
        raise unknown_url(request.method, request.path)

    def _health(self, args: Args) -> JSON:
        return {"status": "ok", "now": self._clock.now()}

    def _jump(self, args: Args) -> JSON:
        return {"now": self._clock.jump(float(args.get("hours", 0)) * 3600)}

    def _plan(self, args: Args) -> JSON:
        self._faults.replace(args)
        return self._faults.shown()

    def _reset(self, args: Args) -> JSON:
        self._store.clear()
        self._clock.restore()
        self._faults.replace({})
        return {"status": "empty"}

    def _ledger(self, args: Args) -> JSON:
        with self._store.reading() as tx:
            found = ledger.movements(tx, int(args.get("after", 0)), args.get("payment_intent"))
            return {"movements": found, "totals": ledger.totals(tx)}

    def _requests(self, args: Args) -> JSON:
        with self._store.reading() as tx:
            return {"requests": journal.lines(tx, int(args.get("after", 0)), args.get("idempotency_key"))}

    def _deliveries(self, args: Args) -> JSON:
        with self._store.reading() as tx:
            rows = tx.execute(
                "SELECT d.*, o.type FROM deliveries d JOIN objects o ON o.id = d.event WHERE d.id > ? ORDER BY d.id",
                (int(args.get("after", 0)),),
            )
            return {"deliveries": [dict(row) for row in rows]}


def _arguments(request: Request) -> JSON:
    """Query parameters, and the members of a JSON body over them. A browser's empty form is no body."""
    args: JSON = dict(parse_qsl(request.query))
    if request.body:
        body = json.loads(request.body)
        if not isinstance(body, dict):
            raise invalid("The body must be a JSON object.")
        args |= body
    return args
