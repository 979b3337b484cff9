"""Runs the load generator against a side's web program."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from benchmarks.load import Outcome
from benchmarks.processes import run
from benchmarks.side import Kind, Web
from benchmarks.stage import Unfair
from benchmarks.wire import Plan, Target

GOOD = {"checkouts": {"202"}, "webhooks": {"200"}}


@dataclass(frozen=True)
class Demand:
    """How requests come.

    Args:
        connections: kept open, each with one request at a time.
        warm_up: requests before the clock starts.
        rate: per second; None for as fast as they are answered.
    """

    connections: int
    warm_up: int = 0
    rate: float | None = None


def sent(web: Web, kind: Kind, targets: list[Target], demand: Demand) -> Outcome:
    """Send a request for each target; the first ones of `targets` are the warm-up's.

    Raises:
        Unfair: an answer was not what it should be.
        ProgramFailed: a connection was lost.
    """
    plan = Plan(
        kind=kind,
        port=web.port,
        targets=targets,
        connections=demand.connections,
        warm_up=demand.warm_up,
        rate=demand.rate,
    )
    outcome = Outcome(**json.loads(run([sys.executable, "-m", "benchmarks.load"], {}, json.dumps(plan))))
    if set(outcome.statuses) != GOOD[kind]:
        raise Unfair(f"answers were {outcome.statuses}: {web.program.last_lines()}")
    return outcome
