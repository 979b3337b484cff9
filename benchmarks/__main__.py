"""`python -m benchmarks`: run the cases that were asked for, print their tables, keep their figures."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Event
from types import FrameType

import psycopg

from benchmarks import chart, machine, options, postgres, results
from benchmarks.cases import checkouts, end_to_end, facades, growth, latency, start, webhooks
from benchmarks.processes import ProgramFailed
from benchmarks.product import NAME
from benchmarks.results import Sample
from benchmarks.stage import Stage, say

CASES: dict[str, tuple[Callable[[Stage], None], Callable[[Sequence[Sample], str], str]]] = {
    "A": (checkouts.run, checkouts.show),
    "A-end-to-end": (end_to_end.run, end_to_end.show),
    "B": (webhooks.run, webhooks.show),
    "B-end-to-end": (webhooks.run_end_to_end, webhooks.show_end_to_end),
    "C": (latency.run, latency.show),
    "D": (growth.run, growth.show),
    "E": (facades.run, facades.show),
    "F": (start.run, start.show),
}
"""What runs a case, and what shows its samples."""


def main() -> int:
    """Returns the exit status: 0, 1 when a measurement failed, 2 when it cannot run here, 130 after Ctrl-C."""
    given = options.parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        facts: dict[str, object] = {
            **machine.facts(machine.pin(given.cores)),
            "postgresql": postgres.facts(given.server),
        }
        samples = _run(given, facts)
    except (ProgramFailed, postgres.NotDurable, psycopg.OperationalError) as error:
        say(f"benchmarks: {error}")
        return 2
    except KeyboardInterrupt:
        say("benchmarks: stopped; everything that was started has ended")
        return 130
    if _stopped.is_set():  # too late to leave anything out
        return 130
    return 1 if any(sample.problem for sample in samples) else 0


def _run(given: options.Options, facts: dict[str, object]) -> list[results.Sample]:
    began = time.monotonic()
    with ExitStack() as stack:
        stage = Stage(given, stack, _stopped)
        for case in given.cases:
            run, show = CASES[case]
            run(stage)
            print(f"\n{show(stage.samples, NAME)}\n", flush=True)
            results.write_json(given.json, {**facts, "size": vars(given.size)}, stage.samples)
    if given.chart is not None:
        given.chart.write_text(chart.svg(stage.samples, NAME))
    say(f"{time.monotonic() - began:.0f} s; figures in {given.json}")
    return stage.samples


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _stopped.set()  # the exception alone may be lost, where it meets a finalizer or a callback from C
    raise KeyboardInterrupt


_stopped = Event()


if __name__ == "__main__":
    sys.exit(main())
