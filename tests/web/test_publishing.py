"""The real way to the broker: each program's own settings, in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests import servers

ROOT = Path(__file__).resolve().parents[2]

SEND = """
import sys
from core.domain.jobs import PAYMENT_CREATE
from web.publishing import Channel
channel = Channel()
channel.send(PAYMENT_CREATE, ["1", "2"])
channel.close()
channel.send(PAYMENT_CREATE, ["3"])
"""

RECEIVE = """
import json, time
from celery import Celery
app = Celery("reader", set_as_current=False)
app.config_from_object("celeryconfig")
found = []
with app.connection_for_read() as connection:
    queue = app.amqp.queues["payments"](connection.channel())
    queue.declare()
    until = time.monotonic() + 20
    while len(found) < 2 and time.monotonic() < until:
        message = queue.get(no_ack=True)
        if message is None:
            time.sleep(0.02)
            continue
        found.append([message.headers["task"], message.headers["argsrepr"], message.payload[0]])
print(json.dumps(found))
"""

HINT_AND_EXIT = """
import multiprocessing
from core.domain.jobs import PAYMENT_CREATE
from web import hints
def work(first):
    for number in range(first, first + 500):
        hints.publisher().hint(PAYMENT_CREATE, str(number))
child = multiprocessing.get_context("fork").Process(target=work, args=(500,))  # as an application server does
child.start()
child.join()
assert child.exitcode == 0
work(0)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check_roundtrip(environment: dict[str, str]) -> None:
    sent = run(SEND, **environment)
    assert sent.returncode == 0, sent.stderr
    received = run(RECEIVE, **environment)
    assert received.returncode == 0, received.stderr
    assert json.loads(received.stdout) == [
        ["payments.create", "payments.create x2 1..2", [["1", "2"]]],
        ["payments.create", "payments.create x1 3..3", [["3"]]],
    ]


def test_a_message_names_its_job_kind_and_carries_ids_through_files(tmp_path: Path) -> None:
    check_roundtrip({"STATE_DIR": str(tmp_path), "BROKER_URL": "filesystem://"})


def test_a_message_goes_through_redis_the_same_way(tmp_path: Path) -> None:
    program = servers.require("redis-server")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--dir", str(tmp_path), "--bind", "127.0.0.1"]
    )
    try:
        assert listens(port)
        check_roundtrip({"STATE_DIR": str(tmp_path), "BROKER_URL": f"redis://127.0.0.1:{port}/0"})
    finally:
        server.terminate()
        server.wait(20)


def test_hints_leave_before_their_process_ends_a_forked_one_too(tmp_path: Path) -> None:
    ended = run(HINT_AND_EXIT, STATE_DIR=str(tmp_path), BROKER_URL="filesystem://")

    assert ended.returncode == 0, ended.stderr
    messages = [json.loads(file.read_text()) for file in (tmp_path / "broker" / "messages").iterdir()]
    ids = [job_id for message in messages for job_id in json.loads(b64decode(message["body"]))[0][0]]
    assert sorted(ids, key=int) == [str(number) for number in range(1000)]
    assert len(messages) < 500, "nothing was coalesced"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_process_ends_although_its_broker_refuses(tmp_path: Path, scheme: str) -> None:
    ended = run(HINT_AND_EXIT, STATE_DIR=str(tmp_path), BROKER_URL=f"{scheme}://127.0.0.1:{free_port()}/0")

    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("Hints dropped") <= 2, "one warning for each process is enough"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_process_ends_although_its_broker_is_silent(tmp_path: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0"
        ended = run(HINT_AND_EXIT, STATE_DIR=str(tmp_path), BROKER_URL=url)

    assert ended.returncode == 0, ended.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    until = monotonic() + 20
    while monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        sleep(0.02)
    return False
