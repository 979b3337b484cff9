"""E: what a call through a facade costs beside the bare library, in a process of its own (`benchmarks.calls`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from benchmarks import bed
from benchmarks.processes import run as run_program
from benchmarks.results import Sample, summaries
from benchmarks.stage import Stage
from benchmarks.table import Column, table

NAME = "E"
MICROSECONDS = "{:,.2f}".format
STATES = ("off", "on")


def run(stage: Stage) -> None:
    """Each state in a process of its own; a gateway without latency, so that only our own time counts."""
    if not stage.ours():
        return
    with bed.made(stage.options.server, latency_ms=0) as quick:
        for _ in range(stage.options.size.repetitions):
            for state in STATES:
                environment = {**stage.product.environment(), **_state(state, quick.gateway_url)}
                command = [sys.executable, "-m", "benchmarks.calls", state, str(stage.options.size.calls)]
                for name, microseconds in json.loads(run_program(command, environment)).items():
                    stage.measure(NAME, name, dict, us=microseconds)


def _state(state: str, gateway: str) -> dict[str, str]:
    if state == "off":
        return {"REDIS_ENABLED": "false", "SENTRY_ENABLED": "false", "STRIPE_ENABLED": "false", "LOG_LEVEL": "WARNING"}
    return {"STRIPE_API_BASE": gateway, "LOG_LEVEL": "INFO"}


def show(samples: Sequence[Sample], product: str) -> str:
    """The table; each facade stands beside the bare library it wraps."""
    column = Column("us/call", "us", MICROSECONDS)
    return f"E. {product}: a call, above an empty one\n\n{table(summaries(samples, NAME), [column], None, 'us')}"
