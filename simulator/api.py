"""The life of one /v1 request: fault, key, parameters, idempotency, effect, answer."""

from __future__ import annotations

import hmac
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from simulator import errors, form, ids, journal
from simulator.clock import Clock
from simulator.deliveries import Deliverer
from simulator.errors import ApiError
from simulator.expansion import expand
from simulator.faults import FaultPlan, Rule
from simulator.idempotency import InFlight, Saved, check_key, fingerprint, recall, save
from simulator.messages import Answer, Request, lost
from simulator.operation import Operation
from simulator.params import EXPAND, parse
from simulator.routes import Route, resolve
from simulator.settings import API_VERSION, SimulatorSettings
from simulator.store import Store, dumps, public

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?")


@dataclass
class Visit:
    """What is known of a request so far; the request log is written from it."""

    request: Request
    id: str
    fault: Rule | None
    key: str | None = None
    print: str = ""
    publishable: bool = False
    version: str = API_VERSION
    params: dict[str, Any] = field(default_factory=dict)
    early: list[int] = field(default_factory=list)

    def fault_is(self, kind: str, when: str) -> bool:
        """Does this fault strike at this point?"""
        return self.fault is not None and (self.fault.kind, self.fault.when) == (kind, when)


class Api:
    """Answers /v1 requests, any number at once; their effects happen one by one in the store."""

    def __init__(
        self, settings: SimulatorSettings, store: Store, clock: Clock, faults: FaultPlan, deliverer: Deliverer
    ) -> None:
        self.base_url = ""
        self.stopping = threading.Event()
        self._settings, self._store, self._clock = settings, store, clock
        self._faults, self._deliverer = faults, deliverer
        self._in_flight = InFlight()

    def handle(self, request: Request) -> Answer:
        """Answer, be it with an error envelope or a dead connection."""
        visit = Visit(
            request,
            ids.new_request(),
            self._faults.request(request.method, request.path),
            version=request.headers.get("stripe-version", API_VERSION),
        )
        try:
            if (dead := self._struck_before(visit)) is not None:
                return dead
            answer = self._admitted(visit)
        except ApiError as refusal:
            answer = self._refused(visit, refusal)
        for delivery in visit.early:
            self._deliverer.attempt(delivery)
        self._travel()
        return self._struck_after(visit, answer)

    def _travel(self) -> None:
        """Half of the artificial latency."""
        if self._settings.latency_ms:
            time.sleep(self._settings.latency_ms / 2000)

    def _admitted(self, visit: Visit) -> Answer:
        """Everything from the key to the effect.

        Raises:
            ApiError: refused before it executed.
        """
        request = visit.request
        self._authenticate(visit)
        if not _VERSION.fullmatch(visit.version):
            raise errors.invalid(f"Invalid Stripe API version: {visit.version}")
        if request.method == "POST":
            visit.key = request.headers.get("idempotency-key")
            check_key(visit.key)
        visit.params = _decode(request)
        visit.print = fingerprint(visit.params)
        route, object_id = resolve(request.method, request.path)
        if visit.publishable and not route.browser:
            raise ApiError(
                403,
                "This API call cannot be made with a publishable API key. Please use a secret API key. You can find "
                "a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
                code="secret_key_required",
            )
        with self._in_flight.hold(visit.key):
            self._travel()
            return self._execute(visit, route, object_id)

    def _execute(self, visit: Visit, route: Route, object_id: str) -> Answer:
        """The effect, its events, the saved answer and the log line, in one transaction."""
        path = visit.request.path
        with self._operation(visit) as op:
            replay = recall(op, visit.key, path, visit.print) if visit.key is not None else None
            if replay is not None:
                journal.append(op, visit.request, visit.id, visit.print, replay.status, visit.fault, replayed=True)
                return self._answer(visit, replay, replayed=True)
            saved, headers = self._run(op, visit, route, object_id)
            if visit.key is not None:
                save(op, visit.key, path, visit.print, saved)
            journal.append(op, visit.request, visit.id, visit.print, saved.status, visit.fault)
        visit.early = op.early
        return self._answer(visit, saved, headers)

    def _run(self, op: Operation, visit: Visit, route: Route, object_id: str) -> tuple[Saved, dict[str, str]]:
        """Run the endpoint. An error that is remembered is an answer; any other rolls everything back."""
        given = parse(route.spec | EXPAND, visit.params, route.required)
        paths = given.pop("expand", [])
        try:
            body = expand(op, public(route.handler(op, given, object_id)), paths)
            status, headers = 200, {}
        except ApiError as refusal:
            if not refusal.executed:
                raise
            status, body, headers = refusal.status, refusal.body(), refusal.headers
        if visit.fault_is("error_500", "after"):
            failure = errors.server_error()
            status, body, headers = failure.status, failure.body(), {"Stripe-Should-Retry": "false"}
        return Saved(status, dumps(body), visit.id), headers

    @contextmanager
    def _operation(self, visit: Visit | None = None) -> Iterator[Operation]:
        with self._store.transaction() as tx:
            op = Operation(tx, self._clock.now(), self._settings, self._faults, self.base_url)
            if visit is not None:
                op.request_id, op.idempotency_key = visit.id, visit.key
                op.publishable, op.version = visit.publishable, visit.version
            yield op
        self._deliverer.submit(op.deliveries)

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """An effect that no API request asked for: a timer's or the control API's."""
        with self._operation() as op:
            yield op
        for delivery in op.early:
            self._deliverer.attempt(delivery)

    def _authenticate(self, visit: Visit) -> None:
        key = visit.request.api_key
        if not key:
            raise ApiError(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#"
                "authentication for details, or we can help at https://support.stripe.com/.",
            )
        visit.publishable = key.startswith("pk_test_")
        prefix = "pk_test_" if visit.publishable else "sk_test_"
        only = self._settings.publishable_key if visit.publishable else self._settings.secret_key
        known = hmac.compare_digest(key.encode(), only.encode()) if only else key.startswith(prefix) and key != prefix
        if not known:
            raise errors.invalid_key(key)

    def _struck_before(self, visit: Visit) -> Answer | None:
        """Faults on the way in: nothing happens, and no key remembers it.

        Raises:
            ApiError: for the faults that answer.
        """
        fault = visit.fault
        if fault is None or fault.when != "before":
            return None
        if fault.kind == "latency":
            self.stopping.wait(fault.seconds)
        elif fault.kind in ("timeout", "reset"):
            self._log(visit, None)
            self.stopping.wait(fault.seconds if fault.kind == "timeout" else 0)
            return lost()
        elif fault.kind == "error_500":
            raise errors.server_error()
        elif fault.kind == "in_use_409":
            raise errors.key_in_use(visit.request.headers.get("idempotency-key"))
        elif fault.kind == "rate_limit_429":
            raise errors.rate_limited(fault.retry_after)
        elif fault.kind == "unauthorized_401":
            raise errors.invalid_key(visit.request.api_key or "")
        return None

    def _struck_after(self, visit: Visit, answer: Answer) -> Answer:
        """Faults on the way out: the effect stands, the answer suffers."""
        fault = visit.fault
        if fault is None or fault.when != "after":
            return answer
        if fault.kind in ("timeout", "latency"):
            self.stopping.wait(fault.seconds)
        if fault.kind in ("timeout", "reset"):
            return lost()
        if fault.kind == "reset_mid_body":
            answer.cut = fault.kind
        return answer

    def _refused(self, visit: Visit, refusal: ApiError) -> Answer:
        self._log(visit, refusal.status)
        return self._answer(visit, Saved(refusal.status, dumps(refusal.body()), visit.id), refusal.headers)

    def _log(self, visit: Visit, status: int | None) -> None:
        with self._operation() as op:
            journal.append(op, visit.request, visit.id, visit.print, status, visit.fault)

    def _answer(
        self, visit: Visit, saved: Saved, headers: dict[str, str] | None = None, *, replayed: bool = False
    ) -> Answer:
        shown = {"Content-Type": "application/json", "Request-Id": visit.id, "Stripe-Version": visit.version}
        if visit.key is not None:
            shown |= {"Idempotency-Key": visit.key, "Original-Request": saved.request}
        if replayed:
            shown["Idempotent-Replayed"] = "true"
            if saved.status >= 400:
                shown["Stripe-Should-Retry"] = "false"
        return Answer(saved.status, saved.body.encode(), shown | (headers or {}))


def _decode(request: Request) -> dict[str, Any]:
    """The parameters of the query string and the form body.

    Raises:
        ApiError: 400, the body is no form.
    """
    params = form.decode(request.query)
    if not request.body:
        return params
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise errors.invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have "
            "any questions, we can help at https://support.stripe.com/."
        )
    try:
        text = request.body.decode("ascii")
    except UnicodeDecodeError as error:
        raise errors.invalid("Invalid request: the body must be percent-encoded ASCII.") from error
    return params | form.decode(text)
