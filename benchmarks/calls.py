"""Times calls of the facades and of the libraries behind them: `python -m benchmarks.calls off|on CALLS`.

Prints microseconds per call above an empty call, as JSON: the best of five rounds, since only noise adds to it.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import wire
from core import cache, get_logger, logs, monitor, payment, settings

ROUNDS = 5
FEWER = 20
"""Calls over the network are that much fewer."""
VALUE = {"total_orders": 3, "total_spent": {"usd": 3150}, "as_of": "2026-01-01T00:00:00+00:00"}

Timed = tuple[str, Callable[[], object], int]


def switched_off() -> Iterator[Timed]:
    """What a call costs while its service is off."""
    logger = get_logger("benchmarks")
    bare = logging.getLogger("bare")
    bare.setLevel(logging.WARNING)
    yield "logger.info, level off", lambda: logger.info("order paid", extra={"order_id": "1"}), 1
    yield "logging's own info, level off", lambda: bare.info("order paid", extra={"order_id": "1"}), 1
    yield "cache.get, off", lambda: cache.get("stats:default:1"), 1
    yield "cache.set, off", lambda: cache.set("stats:default:1", VALUE, ttl=60), 1
    yield "monitor.add_breadcrumb, off", lambda: monitor.add_breadcrumb("paid", category="order"), 1
    yield "monitor.trace, off", lambda: _entered(monitor), 1
    yield "payment.create_payment_intent, off", lambda: payment.create_payment_intent(1050, idempotency_key="k"), 1


def switched_on() -> Iterator[Timed]:
    """What a call costs while its service is on, and the same with the bare library."""
    import redis
    import stripe

    found = settings.load()
    yield from _logging()
    link = redis.Redis.from_url(found.redis_url or "")
    cache.set("stats:default:1", VALUE, ttl=600)
    link.set("bare", json.dumps(VALUE), ex=600)
    yield "cache.get, hit", lambda: cache.get("stats:default:1"), FEWER
    yield "redis-py's get and json.loads", lambda: json.loads(link.get("bare") or ""), FEWER
    client = stripe.StripeClient("sk_test_benchmark", base_addresses={"api": found.stripe_api_base or ""})
    yield "payment.create_payment_intent, on", lambda: payment.create_payment_intent(1050, idempotency_key="k"), FEWER
    yield (
        "stripe's payment_intents.create",
        lambda: client.v1.payment_intents.create({"amount": 1050, "currency": "usd"}, {"idempotency_key": "k"}),
        FEWER,
    )
    yield from _signatures()


def _logging() -> Iterator[Timed]:
    from pythonjsonlogger.json import JsonFormatter

    logs.configure()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(io.StringIO())
    logger = get_logger("benchmarks")
    bare = logging.getLogger("bare")
    bare.propagate = False
    bare.setLevel(logging.INFO)
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    bare.addHandler(handler)
    yield "logger.info, JSON", lambda: logger.info("order paid", extra={"order_id": "1"}), 4
    yield "python-json-logger's own", lambda: bare.info("order paid", extra={"order_id": "1"}), 4


def _signatures() -> Iterator[Timed]:
    import stripe

    target = wire.Target(order_id="o", payment_id="p", intent_id="pi_1", amount=1050)
    head, _, body = wire.webhook(target).partition(b"\r\n\r\n")
    signature = next(line for line in head.decode().split("\r\n") if line.startswith("Stripe-Signature"))[18:]
    yield "payment.verify_webhook_signature", lambda: payment.verify_webhook_signature(body, signature), 4
    yield (
        "stripe's verify_header",
        lambda: stripe.WebhookSignature.verify_header(body.decode(), signature, wire.WEBHOOK_SECRET, 300),
        4,
    )


def _entered(monitor: object) -> None:
    with monitor.trace("work"):  # type: ignore[attr-defined]  # the facade's class is private to it
        pass


def microseconds(call: Callable[[], object], calls: int) -> float:
    """The best of several rounds, in microseconds per call."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter_ns() - began) / calls / 1000)
    return min(rounds)


def measured(state: str, calls: int) -> dict[str, float]:
    """Every call of that state, above an empty one."""
    empty = microseconds(lambda: None, calls)
    timed = switched_off() if state == "off" else switched_on()
    return {name: microseconds(call, max(calls // fewer, 1)) - empty for name, call, fewer in timed}


if __name__ == "__main__":
    settings.start()
    json.dump(measured(sys.argv[1], int(sys.argv[2])), sys.stdout)
