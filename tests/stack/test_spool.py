"""The embedded broker: whole messages, each to one reader, none that stay for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from stack import spool
from stack.program import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "broker"


@pytest.fixture
def channel(folder: Path) -> Iterator[Any]:
    with connect(folder) as connection:
        yield connection.default_channel


def connect(folder: Path) -> Any:
    return Connection("filesystem://", transport="stack.spool:Transport", transport_options=spool.prepare(folder))


OPENED = """
import sys
from pathlib import Path
from kombu import Connection, Exchange, Queue
from stack import spool
options = spool.prepare(Path(sys.argv[1]))
connection = Connection("filesystem://", transport="stack.spool:Transport", transport_options=options)
channel = connection.default_channel
"""
BIND = f"""{OPENED}
sys.stdin.read()  # until the test lets all of them go at once
for number in range(100):
    Queue(sys.argv[2], Exchange(f"events-{{number}}", "fanout"))(channel).declare()
"""
WRITE = f"{OPENED}for n in range(1000): channel._put('payments', {{'number': n, 'padding': 'x' * 500}})"
WRITE_ON_A_FULL_DISK = f"""{OPENED}
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # bytes: a longer file breaks off there
channel._put("payments", {{"padding": "x" * 500}})
"""


def messages(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "messages"))


def drain(channel: Any, queue: str) -> list[Any]:
    found = []
    while True:
        try:
            found.append(channel._get(queue))
        except Empty:
            return found


def test_messages_come_out_once_and_in_order(channel: Any, folder: Path) -> None:
    for number in range(3):
        channel._put("payments", {"number": number})
        time.sleep(0.002)  # names order by milliseconds
    assert drain(channel, "payments") == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert messages(folder) == []


def test_a_queue_gives_only_its_own_messages(channel: Any) -> None:
    channel._put("payments", {"to": "payments"})
    assert drain(channel, "webhooks") == []
    assert drain(channel, "payments") == [{"to": "payments"}]


def test_a_message_that_is_still_being_written_is_not_seen(channel: Any, folder: Path) -> None:
    (folder / "messages" / f"{int(time.time() * 1000):013d}_half.part").write_text("")
    assert drain(channel, "part") == []
    assert drain(channel, "payments") == []


def test_of_two_readers_that_saw_a_message_one_gets_it(channel: Any, folder: Path) -> None:
    channel._put("payments", {"number": 1})
    with connect(folder) as other:
        slower = other.default_channel
        slower._listed["payments"] = deque(slower._waiting("payments"))
        assert drain(channel, "payments") == [{"number": 1}]
        assert drain(slower, "payments") == []


def test_a_message_that_nobody_took_in_time_is_removed(channel: Any, folder: Path) -> None:
    old = f"{int((time.time() - spool.KEPT_SECONDS - 1) * 1000):013d}_old"
    for name in (f"{old}.celeryev.gone.msg", f"{old}.payments.msg", f"{old}.payments.taken-1", f"{old}.part"):
        (folder / "messages" / name).write_text("{}")
    channel._put("webhooks", {"kept": True})
    assert drain(channel, "payments") == []
    assert drain(channel, "webhooks") == [{"kept": True}]
    assert messages(folder) == []


def test_an_event_reaches_every_queue_that_is_bound(channel: Any) -> None:
    exchange = Exchange("events", "fanout")
    for name in ("flower", "person"):
        Queue(name, exchange)(channel).declare()
    channel.connection.client.Producer().publish({"type": "task-received"}, exchange=exchange)
    assert [len(drain(channel, name)) for name in ("flower", "person")] == [1, 1]


def test_queues_bound_by_several_processes_at_once_are_all_known(folder: Path) -> None:
    spool.prepare(folder)
    names = ["queue-0", "queue-1", "queue-2"]
    running = [
        subprocess.Popen([sys.executable, "-c", BIND, str(folder), name], cwd=ROOT, stdin=subprocess.PIPE)
        for name in names
    ]
    for process in running:
        assert process.stdin
        process.stdin.close()
    assert [process.wait() for process in running] == [0, 0, 0]
    for number in range(100):
        table = json.loads((folder / "control" / f"events-{number}.exchange").read_text())
        assert sorted(entry[2] for entry in table) == names


def test_a_message_that_could_not_be_written_whole_is_not_seen(channel: Any, folder: Path) -> None:
    command = [sys.executable, "-c", WRITE_ON_A_FULL_DISK, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "File too large" in ended.stderr
    assert drain(channel, "payments") == []


def test_no_message_is_lost_or_seen_half_written_while_others_write(channel: Any, folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITE, str(folder)], cwd=ROOT) as writer:
        found: list[Any] = []
        while writer.poll() is None:
            found += drain(channel, "payments")
        found += drain(channel, "payments")
    assert sorted(message["number"] for message in found) == list(range(1000))
