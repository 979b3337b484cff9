"""The Celery app and what happens when a worker starts and stops."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_process_init, worker_shutdown, worker_shutting_down

from core import database, logs, monitor, payment, settings
from core.domain import jobs
from worker import runner
from worker.events import EventsTogether

settings.start()
monitor.start()  # before the tasks are built: only then does its Celery integration see them

app = Celery("counterfoil", include=["worker.tasks"], amqp="worker.broker:AMQP")
app.config_from_object("celeryconfig")
app.steps["consumer"].add(EventsTogether)

POOL_CONNECTIONS = 12
"""A job holds a connection only inside its short transactions, so a process needs fewer than jobs in flight; those
of the hot statements (`core.statements`) come on top."""


@setup_logging.connect(weak=False)
def _log(**_: Any) -> None:
    logs.configure()  # with a receiver here, Celery leaves the handlers alone


@worker_init.connect(weak=False)
def _size(sender: Any, **_: Any) -> None:
    shared = "prefork" not in str(sender.pool_cls)
    cap = sender.concurrency if shared else 1  # a prefork child runs one message at a time
    runner.configure(cap, settings.load().lease_seconds)
    database.configure(min(cap, POOL_CONNECTIONS) + 2)
    if any(kind.queue in app.amqp.queues.consume_from for kind in jobs.KINDS.values() if kind.needs_stripe):
        payment.fingerprint()  # loads the SDK now: the first jobs, perhaps a lost worker's, would wait half a second


@worker_process_init.connect(weak=False)
def _begin_child(**_: Any) -> None:
    monitor.start()  # the parent's connection to Sentry is not the child's


@worker_shutting_down.connect(weak=False)
def _stop(**_: Any) -> None:
    runner.stopping.set()  # claim nothing more; what runs is finished


@worker_shutdown.connect(weak=False)
def _flush(**_: Any) -> None:
    monitor.flush()
