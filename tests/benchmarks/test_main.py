"""Every case at a tiny size, with the product and plain Celery: nothing but what the product itself needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from benchmarks.options import CASES
from benchmarks.processes import ROOT
from tests import servers

PEER = "Celery gevent"


def command(file: Path, *arguments: str) -> list[str]:
    servers.require("redis-server")
    server = servers.require("postgresql")
    return [
        sys.executable, "-m", "benchmarks", "--size", "smoke", "--postgres", server, "--json", str(file), *arguments,
    ]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_case_runs(case: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    sides = ["Counterfoil", PEER] if case in ("A", "B") else ["Counterfoil"]  # each start of a worker takes seconds
    asked = command(file, "--case", case, "--only", *sides, "--body", "bare")
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    samples = json.loads(file.read_text())["samples"]
    assert all(sample["numbers"] and sample["problem"] is None for sample in samples)
    assert "| ---" in done.stdout


def test_a_stopped_run_leaves_nothing_behind(tmp_path: Path) -> None:
    asked = command(tmp_path / "figures.json", "--case", "A", "--only", PEER)
    server = asked[asked.index("--postgres") + 1]
    running = subprocess.Popen(asked, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    databases = f"SELECT count(*) FROM pg_database WHERE datname LIKE 'counterfoil_bench_{running.pid}_%'"
    with psycopg.connect(server, autocommit=True) as link:
        deadline = time.monotonic() + 60
        while not link.execute(databases.encode()).fetchone()[0]:  # type: ignore[index]  # count(*) has a row
            assert running.poll() is None, running.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert "stopped" in running.communicate(timeout=60)[1]
        assert link.execute(databases.encode()).fetchone() == (0,)
    assert running.returncode == 130
    assert not [pid for pid in os.listdir("/proc") if pid.isdecimal() and parent(pid) == running.pid]


def parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
