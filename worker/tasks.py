"""The Celery tasks: one thin wrapper per kind of job, the sweep, and the schedule's tick."""

from __future__ import annotations

from core import get_logger
from core.database import DatabaseUnavailable
from worker import schedule, sweep
from worker.app import app
from worker.flows import FLOWS
from worker.runner import Flow, runner

logger = get_logger(__name__)


def _register(kind: str, flow: Flow) -> None:
    @app.task(name=kind)
    def work(ids: list[str]) -> None:
        runner().run(kind, ids, flow)


for _kind, _flow in FLOWS.items():
    _register(_kind, _flow)


@app.task(name=sweep.NAME)
def sweep_task() -> None:
    """Recover what was lost; beat sends this about every second, and twice does no harm."""
    try:
        sweep.sweep()
    except DatabaseUnavailable as error:
        logger.warning("no sweep, the next one tries again", extra={"reason": error.detail})


@app.task(name="maintenance.tick")
def tick_task(name: str) -> None:
    """Insert the job of a schedule's current period; twice inserts it once."""
    try:
        schedule.tick(name)
    except DatabaseUnavailable as error:
        logger.warning("no tick, the next one tries again", extra={"task": name, "reason": error.detail})
