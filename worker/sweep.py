"""The sweep: takes leases from workers that did not come back, and hints what is due and was not hinted lately.

It recovers a lost message, a lost worker and a lost broker in the same way. It never spends a job's attempts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from celery.signals import worker_ready
from kombu.exceptions import OperationalError

from core import get_logger
from core.crashpoints import crash_point
from core.database import transaction
from core.domain import leases
from core.domain.leases import Hint
from worker.app import app

logger = get_logger(__name__)

NAME, QUEUE = "maintenance.sweep", "maintenance"
BATCH = 1_000
"""Rows per statement; a larger backlog waits for the next sweep."""
IDS_PER_MESSAGE = 50
SUSPECTS_PER_MESSAGE = 4
"""They run one after the other, so few at a time go to one process."""


class BrokerUnavailable(Exception):
    """The broker did not take a hint, or its answer was lost. No harm: the job is a row and is hinted again."""


def sweep() -> int:
    """Expire leases, then hint; returns how many jobs were due for a hint.

    Raises:
        DatabaseUnavailable: nothing was lost, the next sweep does it.
    """
    with transaction() as conn:
        expired = leases.expire(conn, BATCH)
    crash_point("sweep.expired")
    if expired:
        logger.warning("leases expired", extra={"count": len(expired), "first": expired[0]})
    with transaction() as conn:
        hints = leases.due(conn, BATCH)
    crash_point("sweep.hints_taken")
    _publish(hints)
    crash_point("sweep.published")
    return len(hints)


def _publish(hints: Sequence[Hint]) -> None:
    groups: dict[tuple[str, str, bool, bool], list[str]] = defaultdict(list)
    for hint in hints:
        groups[hint.kind, hint.queue, hint.alone, hint.lost].append(hint.job_id)
    try:
        for (kind, queue, alone, lost), ids in groups.items():
            if queue not in app.amqp.queues:  # a newer version's, whose own workers sweep for it
                logger.warning("no such queue here", extra={"queue": queue, "kind": kind, "count": len(ids)})
                continue
            most = SUSPECTS_PER_MESSAGE if alone else IDS_PER_MESSAGE
            for start in range(0, len(ids), most):
                # A copy right behind, so that it goes to another reader: what took one away often takes the next.
                for _ in range(2 if lost else 1):
                    send(kind, queue, ids[start : start + most])
    except BrokerUnavailable as error:
        logger.warning("hints not sent, they are due again soon", extra={"reason": str(error)})


def send(kind: str, queue: str, ids: Sequence[str]) -> None:
    """Publish one hint: ids of one kind.

    Raises:
        BrokerUnavailable: it may not have arrived.
    """
    _send(kind, queue, [list(ids)], f"{kind} x{len(ids)} {ids[0]}..{ids[-1]}")


@worker_ready.connect(weak=False)
def begin(**_: Any) -> None:
    """Have a worker that takes sweeps start with one: its predecessor may have died with the latest in its hands."""
    if QUEUE not in app.amqp.queues.consume_from:
        return
    try:
        _send(NAME, QUEUE, [], "()")
    except BrokerUnavailable as error:
        logger.warning("no sweep at the start, beat's next tick brings one", extra={"reason": str(error)})


def _send(task: str, queue: str, args: Sequence[object], shown: str) -> None:
    try:
        app.send_task(task, args=args, queue=queue, argsrepr=shown, retry=False, ignore_result=True)
    except (OperationalError, OSError, *_transport_errors()) as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error


def _transport_errors() -> tuple[type[Exception], ...]:
    # Celery turns into OperationalError what its transport calls recoverable. The rest (a missing vhost, a queue
    # declared in another way, a refused permission) is raised as it is.
    connection = app.connection_for_write()
    return (*connection.connection_errors, *connection.channel_errors)
