"""What goes wrong beside the load. Each runs in a thread until the load has ended, and heals what it broke."""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg

from tests.faults import proxy
from tests.faults.run import Run

Injection = Callable[[Run], None]


def random_kills(run: Run) -> None:
    """kill -9 of any process, every 0.2 to 2 s."""
    names = run.world.names("web", "worker", "reconciler", "sweeper", "beat", "simulator")
    while not run.done.wait(run.dice.uniform(0.2, 2.0)):
        name = run.dice.choice(names)
        if run.world.signal(name, signal.SIGKILL, run.dice):
            run.history.fault("kill", name)


def stopped_workers(run: Run) -> None:
    """SIGSTOP one worker after the other for three leases, at any instant of its work, and let it go on."""
    workers = run.world.names("worker", "reconciler")
    turn = 0
    while not run.done.wait(run.dice.uniform(0.1, 1.0)):
        name, turn = workers[turn % len(workers)], turn + 1
        if not run.world.signal(name, signal.SIGSTOP):
            continue
        run.history.fault("stop", name)
        run.done.wait(3 * run.world.plan.lease)
        run.world.signal(name, signal.SIGCONT)
        run.history.healed("stop", name)


def stopped_then_killed(run: Run) -> None:
    """SIGSTOP a worker, let hints pile up in its connection, then SIGKILL it."""
    workers = run.world.names("worker", "reconciler")
    while not run.done.wait(run.dice.uniform(1.0, 5.0)):
        name = run.dice.choice(workers)
        if run.world.signal(name, signal.SIGSTOP):
            run.history.fault("stop", name)
            run.done.wait(run.dice.uniform(0.2, 1.0))
            run.world.signal(name, signal.SIGKILL)


def rolling_restart(run: Run) -> None:
    """SIGTERM to one worker after the other: it finishes what runs, and the next one starts."""
    workers = run.world.names("worker", "reconciler")
    turn = 0
    while not run.done.wait(run.dice.uniform(2.0, 5.0)):
        name, turn = workers[turn % len(workers)], turn + 1
        if run.world.signal(name, signal.SIGTERM):
            run.history.fault("restart", name)


def flushed_broker(run: Run) -> None:
    """FLUSHALL: every message and every binding is gone."""
    assert run.world.redis
    while not run.done.wait(run.dice.uniform(0.2, 1.5)):
        run.world.redis.empty()
        run.history.fault("flush", "redis")


def dead_broker(run: Run) -> None:
    """The broker is away during the whole load."""
    assert run.world.redis
    run.world.redis.stop()
    run.history.fault("dead", "broker")
    run.done.wait(BROKER_AWAY_SECONDS)  # nothing gets done meanwhile: customers only wait
    run.world.redis.start()
    run.history.healed("dead", "broker")


BROKER_AWAY_SECONDS = 12.0


def flapping_broker(run: Run) -> None:
    """The broker is killed and started, empty, again and again."""
    assert run.world.redis
    while not run.done.wait(run.dice.uniform(1.0, 3.0)):
        run.world.redis.stop()
        run.history.fault("down", "broker")
        run.done.wait(run.dice.uniform(0.2, 0.8))
        run.world.redis.start()
        run.history.healed("down", "broker")


def half_open_broker(run: Run) -> None:
    """Connections to the broker stay open and swallow everything for longer than its timeouts."""
    _through_proxy(run, proxy.SWALLOW, broken=8.0, whole=12.0)


def mute_broker(run: Run) -> None:
    """Publishes arrive and their replies are lost."""
    _through_proxy(run, proxy.MUTE, broken=1.0, whole=4.0)


def _through_proxy(run: Run, mode: str, broken: float, whole: float) -> None:
    """Break the way to the broker for `broken` seconds, up to `whole` seconds after it was whole again."""
    assert run.world.proxy
    while not run.done.wait(run.dice.uniform(0.5, whole)):
        run.world.proxy.set(mode)
        run.history.fault(mode, "broker")
        run.done.wait(broken)
        run.world.proxy.set(proxy.PASS)
        run.history.healed(mode, "broker")


def closed_connections(run: Run) -> None:
    """The broker closes every connection."""
    assert run.world.rabbitmq
    while not run.done.wait(run.dice.uniform(2.0, 4.0)):
        run.world.rabbitmq.hang_up()
        run.history.fault("hang up", "rabbitmq")


def killed_database(run: Run) -> None:
    """kill -9 of all of PostgreSQL, and its recovery."""
    server = run.world.postgresql
    assert server
    while not run.done.wait(run.dice.uniform(1.0, 4.0)):
        server.kill()
        run.history.fault("kill", "postgresql")
        server.start()
        run.history.healed("kill", "postgresql")


def terminated_commits(run: Run) -> None:
    """pg_terminate_backend of sessions at random, preferably while they commit."""
    server = run.world.postgresql
    assert server
    with _admin(server.url) as admin:
        while not run.done.wait(run.dice.uniform(0.005, 0.05)):
            chosen = "query ILIKE 'COMMIT%' AND state = 'active'" if run.dice.random() < 0.9 else "random() < 0.05"
            ended = admin.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                f"AND pid <> pg_backend_pid() AND {chosen}"
            ).fetchall()
            if ended:
                run.history.fault("terminate", f"{len(ended)} sessions")


def read_only_database(run: Run) -> None:
    """PostgreSQL refuses every write for a while, as a replica does."""
    server = run.world.postgresql
    assert server
    while not run.done.wait(run.dice.uniform(1.0, 3.0)):
        _set_read_only(server.url, "on")
        run.history.fault("read-only", "postgresql")
        run.done.wait(run.dice.uniform(0.5, 2.0))
        _set_read_only(server.url, "off")
        run.history.healed("read-only", "postgresql")


def _set_read_only(url: str, value: str) -> None:
    with _admin(url) as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        admin.execute("SELECT pg_reload_conf()")


@contextmanager
def _admin(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        yield connection


def full_disk(run: Run) -> None:
    """The disk of the SQLite file has no room for a while."""
    disk = run.world.disk
    assert disk
    filler = disk / "filler"
    while not run.done.wait(run.dice.uniform(1.0, 3.0)):
        _fill(filler)
        run.history.fault("full", "disk")
        run.done.wait(run.dice.uniform(0.5, 2.0))
        filler.unlink()
        run.history.healed("full", "disk")


def _fill(filler: object) -> None:
    with open(str(filler), "wb", buffering=0) as file:  # noqa: PTH123 - unbuffered, until the disk says no
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


DAY_HOURS = 25
"""Stripe forgets its keys after 24."""


def clock_jump(run: Run) -> None:
    """A day and an hour pass for everybody while answers are unknown: all programs are down meanwhile."""
    time.sleep(3.0)
    world = run.world
    names = world.names("web", "worker", "reconciler", "sweeper", "beat")
    world.end(*names)
    run.history.fault("sleep", "all programs")
    run.jump_clock(DAY_HOURS)
    world.presence.ahead = DAY_HOURS * 3600
    world.start(*names, FAULTS_HOURS=str(DAY_HOURS))
    run.plan_stripe()
    run.history.healed("sleep", "all programs", ahead=world.presence.ahead)


MEDLEY_SECONDS = 3.0


def medley(run: Run) -> None:
    """One fault after the other for a few seconds each, in an order of the seed's."""
    chosen = [stopped_then_killed, stopped_workers, rolling_restart, random_kills]
    if run.world.redis:
        chosen += [flushed_broker, flapping_broker, mute_broker]
    if run.world.postgresql:
        chosen += [killed_database, terminated_commits, read_only_database]
    if run.world.disk:
        chosen += [full_disk]
    for fault in run.dice.sample(chosen, len(chosen)):
        turn = copy.copy(run)
        turn.done = threading.Event()
        timer = threading.Timer(MEDLEY_SECONDS, turn.done.set)
        timer.start()
        fault(turn)


LONGEST_TURN = 2.0
"""Seconds for a crash point to be passed before the next one is armed, too."""
LONGEST_ABSENCE = 4.0
"""Seconds for a worker to come back before the next crash point is armed."""


def armed_in_turn(points: Sequence[str]) -> Injection:
    """Arm one crash point after the other, in an order of the seed's: what died has a moment to come back."""

    def arm(run: Run) -> None:
        for point in run.dice.sample(points, len(points)):
            run.world.arm(point)
            if _within(LONGEST_TURN, partial(run.world.crashed, point)):
                time.sleep(0.1)  # until its death is known
            _within(LONGEST_ABSENCE, lambda: not run.world.presence.absent("worker", "reconciler", "sweeper"))

    return arm


def _within(seconds: float, wanted: Callable[[], object]) -> bool:
    give_up = time.monotonic() + seconds
    while not wanted():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True
