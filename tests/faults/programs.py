"""The product's programs as the harness runs them: the same code, with shorter periods and room for a few accidents.

`python -m tests.faults.commands worker`, `... beat`, and `granian tests.faults.programs:create_app`. The environment:
FAULTS_PERIOD (seconds between reconciliations), FAULTS_HOURS (by which this machine's and the database's clocks are
ahead), FAULTS_NAME (this program's), FAULTS_CLAIMS (file in which workers note who took what). An order with the
metadata `poison` kills the worker that charges it. All of them say READY when they work.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from celery.signals import beat_init, worker_ready
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from core import clock, database
from core.database import reading
from core.domain import checkouts, checks, leases, news, openings, orders
from core.payments import signature
from tests.faults.history import ASKED, TAKEN

PERIOD = int(os.environ.get("FAULTS_PERIOD", "10"))
HOURS = float(os.environ.get("FAULTS_HOURS", "0"))
READY = "faults: ready"


def _later() -> None:
    """Move this process, and what it takes for the database's clock, ahead by FAULTS_HOURS."""
    today = clock.utcnow

    def moved() -> datetime:
        return today() + timedelta(hours=HOURS)

    clock.utcnow = moved
    vars(signature)["time"] = SimpleNamespace(time=lambda: time.time() + HOURS * 3600)  # all it uses of it

    @compiles(database.now, "sqlite")
    def _now_sqlite(element: object, compiler: SQLCompiler, **kw: Any) -> str:
        return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', '{HOURS} hours') || '000')"

    @compiles(database.now_plus, "sqlite")
    def _plus_sqlite(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
        seconds = compiler.process(element.clauses, **kw)
        return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', '{HOURS} hours', ({seconds}) || ' seconds') || '000')"

    @compiles(database.now, "postgresql")
    def _now_postgresql(element: object, compiler: SQLCompiler, **kw: Any) -> str:
        return f"(clock_timestamp() + interval '{HOURS} hours')"

    moved_clock = f"(clock_timestamp() + interval '{HOURS} hours')"
    for module, name in ((checkouts, "_END"), (news, "_PAY"), (news, "_CLOSE"), (openings, "_OPEN")):
        vars(module)[name] = vars(module)[name].replace("statement_timestamp()", moved_clock)

    @compiles(database.now_plus, "postgresql")
    def _plus_postgresql(element: Any, compiler: SQLCompiler, **kw: Any) -> str:
        seconds = compiler.process(element.clauses, **kw)
        return f"(clock_timestamp() + interval '{HOURS} hours' + make_interval(secs => {seconds}))"


if HOURS:
    _later()  # before anybody imports the clock by name
vars(checks).update(FIRST_CHECK_SECONDS=min(PERIOD, 600), ASKING_SECONDS=min(PERIOD, 120))


def create_app() -> Any:
    """The web's application."""
    import web

    app = web.create_app()
    _say_ready()
    return app


def _worker_app() -> Any:
    for signalled in (worker_ready, beat_init):
        signalled.connect(_say_ready, weak=False)  # first of all, so that what the product does then is its own time

    from core.domain import jobs
    from worker import app, flows, schedule

    for kind in (jobs.RECONCILE_EVENTS, jobs.RECONCILE_OBJECTS, jobs.STATISTICS_RECOMPUTE):
        schedule.PERIODS[kind.name] = PERIOD
    for entry in app.conf.beat_schedule.values():
        entry["schedule"] = min(entry["schedule"], max(PERIOD / 2, 1.0))
    flows.FLOWS[jobs.PAYMENT_CREATE.name] = _deadly(flows.FLOWS[jobs.PAYMENT_CREATE.name])
    if "FAULTS_CLAIMS" in os.environ:
        vars(leases)["take"] = _noting(leases.take, Path(os.environ["FAULTS_CLAIMS"]), os.environ["FAULTS_NAME"])
    return app


def _say_ready(**_: Any) -> None:
    print(READY, flush=True)


def _noting(take: Any, file: Path, name: str) -> Any:
    """Note who asks for each job and who takes it, so that the fault that hits it is known, undone claims included."""
    notes = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(at: datetime, what: str, ids: Iterable[str]) -> None:
        os.write(notes, "".join(f"{at.timestamp():.6f} {what} {name} {job_id}\n" for job_id in ids).encode())

    def noted(kind: str, ids: Sequence[str], *args: Any) -> Any:
        note(clock.utcnow(), ASKED, ids)
        claims = take(kind, ids, *args)
        note(clock.utcnow(), TAKEN, [one.job_id for one in claims])
        return claims

    return noted


def _deadly(batched: Any) -> Any:
    flow = batched.flow

    def run(work: Any) -> None:
        with reading() as conn:
            order = orders.find(conn, work.claim.account_id, work.claim.order_id)
        if order is not None and order.metadata.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        flow(work)

    return replace(batched, flow=run)


def __getattr__(name: str) -> Any:
    # Built when Celery asks for it: the web must not import the worker.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = app = _worker_app()
    return app
