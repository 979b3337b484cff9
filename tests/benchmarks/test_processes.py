from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.processes import Program, ProgramFailed, free_port, listens, run, told

BUSY_FAMILY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "while True: pass"])
time.sleep(600)
"""
PATIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("finished"), sys.exit()))
print("ready", flush=True)
time.sleep(600)
"""


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def program(source: str, folder: Path, patience: float = 0.0) -> Program:
    return Program("tried", [sys.executable, "-c", source], {}, folder, patience)


def test_a_stopped_program_leaves_no_child_behind(tmp_path: Path) -> None:
    with program(BUSY_FAMILY, tmp_path) as family:
        until(lambda: len(family.pids) == 2)
        leader = family.pids[0]
    until(lambda: not machine.session(leader))


def test_the_time_of_children_counts(tmp_path: Path) -> None:
    with program(BUSY_FAMILY, tmp_path) as family:
        until(lambda: len(family.pids) == 2)
        before = machine.cpu_seconds(family.pids)
        until(lambda: machine.cpu_seconds(family.pids) > before + 0.05)


def test_a_paused_program_uses_no_time_until_it_goes_on(tmp_path: Path) -> None:
    with program(BUSY_FAMILY, tmp_path) as family:
        until(lambda: len(family.pids) == 2)
        family.pause()
        until(lambda: all("T" in state(pid) for pid in family.pids))
        family.resume()
        until(lambda: not any("T" in state(pid) for pid in family.pids))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_patient_program_may_finish_what_it_does(tmp_path: Path) -> None:
    with program(PATIENT, tmp_path, patience=20.0) as patient:
        patient.wait_for(lambda: "ready" in patient.last_lines(), 20)
    assert "finished" in patient.last_lines()


def test_a_program_that_ended_is_told_with_its_last_lines(tmp_path: Path) -> None:
    with (
        program("raise SystemExit('no such setting')", tmp_path) as short,
        pytest.raises(ProgramFailed, match="no such setting"),
    ):
        short.wait_for(lambda: False, 20)


def test_a_helper_that_failed_is_told_with_its_last_lines() -> None:
    with pytest.raises(ProgramFailed, match="no such helper"):
        run([sys.executable, "-c", "raise SystemExit('no such helper')"], {})


def test_a_program_is_told_nothing_that_nobody_meant_to_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_live_of_somebody")
    assert "STRIPE_SECRET_KEY" not in told({"PORT": "1"})


def test_nobody_listens_on_a_free_port() -> None:
    assert not listens(free_port())


def test_memory_and_time_of_a_process_that_ended_are_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert (machine.cpu_seconds([child.pid]), machine.memory_mb([child.pid])) == (0.0, 0.0)
