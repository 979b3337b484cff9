"""Celery, one message per job: what its documentation and its users' tuning advice come to."""

from __future__ import annotations

from celery import Celery

from benchmarks.peers import environment, sync_jobs

app = Celery("peer", broker=environment.REDIS)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=4,  # at 1, gevent on Redis stalls under a backlog
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=20,
    worker_hijack_root_logger=False,
)

charge = app.task(name="charge")(sync_jobs.charge)
hear = app.task(name="hear")(sync_jobs.hear)


def send(task: str, id: str) -> None:
    """Enqueue one job."""
    {"charge": charge, "hear": hear}[task].apply_async((id,))
