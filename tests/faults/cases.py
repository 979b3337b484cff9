"""The cases: what runs, what breaks, and how the customers behave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.faults import injections as broken
from tests.faults.customer import SLOW_REFUNDS, Habits
from tests.faults.injections import Injection
from tests.faults.world import Plan

LOST_ANSWERS = [
    {"kind": kind, "method": "POST", "match": match, "when": when, "seconds": 3.0, "probability": 0.04}
    for match in ("/v1/payment_intents", "/v1/refunds", "/v1/customers")
    for kind in ("timeout", "reset", "error_500")
    for when in ("before", "after")
] + [{"kind": "reset_mid_body", "method": "POST", "match": "/v1/*s", "probability": 0.04}]
REFUSALS = [
    {"kind": kind, "match": "/v1/*s", "when": "before", "probability": 0.08, **more}
    for kind, more in (("in_use_409", {}), ("rate_limit_429", {"retry_after": 1}), ("unauthorized_401", {"next": 3}))
]  # each 401 holds everybody back for half a minute
READS = [
    {"kind": kind, "method": "GET", "match": "/v1/*", "probability": 0.1, "seconds": 3.0}
    for kind in ("reset", "error_500", "timeout")
]
WEBHOOKS = [
    {"kind": "duplicate", "copies": 5, "probability": 0.15},
    {"kind": "delay", "seconds": 3.0, "probability": 0.15},
    {"kind": "reorder", "seconds": 3.0, "probability": 0.2},
    {"kind": "early", "probability": 0.2},
    {"kind": "forged", "probability": 0.1},
    {"kind": "stale", "probability": 0.1},
    {"kind": "future", "probability": 0.1},
]
DROPPED = [{"kind": "drop", "probability": 0.5}]
UNHEARD = [{"kind": "drop", "probability": 0.9}]


@dataclass(frozen=True)
class Case:
    """One row of the evidence.

    Args:
        summary: one line for people.
        faults: what breaks beside the load.
        stripe: the simulator's fault plan.
        plan: what is started, where it differs from the usual.
        databases: on which it makes sense.
        brokers: likewise; the first is the usual one. Empty: any.
        operations: usual number.
        whole: customers go on until all that breaks has broken.
    """

    summary: str
    faults: tuple[Injection, ...] = ()
    stripe: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    habits: Habits = field(default_factory=Habits)
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    brokers: tuple[str, ...] = ()
    operations: int = 200
    clients: int = 16
    whole: bool = False


CRASHES = Case(
    "one process dies at a crash point",
    stripe={
        "requests": [{"kind": "reset", "method": "POST", "match": "/v1/*s", "when": "after", "probability": 0.15}],
        "webhooks": [{"kind": "drop", "probability": 0.4}, {"kind": "duplicate", "probability": 0.2}],
    },
    plan={"workers": 4, "lease": 3.0, "period": 2, "settle": 5},
    habits=Habits(dawdle=3.0, refunds=1.0, cards=SLOW_REFUNDS),
    operations=30,
    clients=16,
)
"""Each crash point is passed within seconds: answers and webhooks get lost, and customers and banks take their time."""

REDIS, POSTGRES = ("redis",), ("postgresql",)
CASES: dict[str, Case] = {
    "calm": Case("nothing breaks; the throughput to compare with"),
    "kills": Case("kill -9 of any process every 0.2 to 2 s", (broken.random_kills,),
                  plan={"workers": 4, "sweepers": 2, "beats": 2, "latency_ms": 100}),
    "two-beats": Case("two beats", plan={"beats": 2}),
    "three-beats": Case("three beats", plan={"beats": 3}),
    "stopped": Case("SIGSTOP of a worker for three leases before and during its calls to Stripe",
                    (broken.stopped_workers,), plan={"lease": 2.0, "latency_ms": 200}),
    "stopped-killed": Case("SIGSTOP, hints pile up in the connection, SIGKILL", (broken.stopped_then_killed,)),
    "rolling": Case("rolling restart of the workers with SIGTERM", (broken.rolling_restart,), plan={"workers": 3}),
    "flush": Case("FLUSHALL on the broker", (broken.flushed_broker,), brokers=REDIS),
    "broker-dead": Case("the broker is away, then back", (broken.dead_broker,), brokers=REDIS, operations=100),
    "broker-flaps": Case("the broker is killed and back, again and again", (broken.flapping_broker,), brokers=REDIS),
    "half-open": Case("connections to the broker swallow everything", (broken.half_open_broker,), brokers=REDIS,
                      operations=100),
    "lost-replies": Case("the replies to publishes are lost", (broken.mute_broker,), brokers=REDIS),
    "rabbitmq": Case("RabbitMQ closes its connections and processes are killed",
                     (broken.closed_connections, broken.random_kills), databases=POSTGRES, brokers=("rabbitmq",)),
    "database-kill": Case("kill -9 of PostgreSQL", (broken.killed_database,), databases=POSTGRES),
    "commits": Case("sessions are terminated, mostly at COMMIT", (broken.terminated_commits,), databases=POSTGRES),
    "read-only": Case("the database refuses writes", (broken.read_only_database,), databases=POSTGRES),
    "disk-full": Case("the database's disk is full", (broken.full_disk,), databases=("sqlite",), plan={"disk": 24}),
    "poison": Case("jobs that kill their worker beside good ones", habits=Habits(poison=0.02),
                   plan={"lease": 2.0, "workers": 2}),
    "lost-answers": Case("Stripe's answers are lost before and after the effect, 500s are replayed",
                         stripe={"requests": LOST_ANSWERS}),
    "refusals": Case("Stripe answers 409, 429 and 401", stripe={"requests": REFUSALS}),
    "reads": Case("Stripe's answers to reads are lost", stripe={"requests": READS, "webhooks": WEBHOOKS}),
    "webhooks": Case("webhooks are doubled, late, reordered, early, forged, stale and from the future",
                     stripe={"webhooks": WEBHOOKS}),
    "dropped": Case("half of the webhooks never come; the reconciliation heals", stripe={"webhooks": DROPPED},
                    plan={"period": 3}),
    "unheard": Case("answers are lost, and hardly a webhook comes: only the keys and Stripe's lists tell",
                    stripe={"requests": LOST_ANSWERS, "webhooks": UNHEARD}, plan={"period": 3}),
    "day-later": Case("25 hours pass while answers are unknown", (broken.clock_jump,),
                      stripe={"requests": [{"kind": "reset", "method": "POST", "match": "/v1/*s", "when": "after",
                                            "probability": 0.7}]}, operations=60),
    "medley": Case("one fault after the other, while answers and webhooks get lost", (broken.medley,),
                   stripe={"requests": LOST_ANSWERS, "webhooks": WEBHOOKS}, operations=60, whole=True,
                   plan={"lease": 3.0, "period": 4}),
    "everything": Case("kills, lost answers and bad webhooks together", (broken.random_kills,),
                       stripe={"requests": LOST_ANSWERS, "webhooks": WEBHOOKS + DROPPED},
                       plan={"beats": 2, "period": 5}),
}  # fmt: skip


def plan_of(case: Case, database: str, broker: str) -> Plan:
    """What to start for a case."""
    return replace(Plan(database=database, broker=broker), **case.plan)
