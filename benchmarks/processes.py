"""Programs that a benchmark starts: each leads a session of its own, and none outlives the benchmark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import machine

ROOT = Path(__file__).resolve().parent.parent
LEASH = ROOT / "stack" / "leash.py"
# Whoever holds the writing end is the benchmark; when it closes, however we died, the leashes end what we started.
_lifeline, _held_open = os.pipe()


class ProgramFailed(Exception):
    """A program ended, or did not do its part in time; the message ends with its last lines."""


class Program:
    """One program and whatever it starts.

    Args:
        name: names its log.
        command: program and arguments.
        environment: what it is told beside PATH and the like.
        folder: where its log goes.
        patience: seconds between asking it to end and ending it; what has been measured may simply be killed.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, patience: float = 0.0
    ) -> None:
        self.name = name
        self._patience = patience
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-IS", str(LEASH), str(_lifeline), str(patience), *command],
                cwd=ROOT,
                env=told(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(_lifeline,),
            )

    @property
    def pids(self) -> list[int]:
        """Its processes that live, the leash not counted: a program that is paused must still be ended."""
        return [pid for pid in machine.session(self._popen.pid) if LEASH.name not in machine.command(pid)]

    def pause(self) -> None:
        """Stop all its processes where they stand."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            ProgramFailed: it ended.
        """
        if self._popen.poll() is not None:
            raise ProgramFailed(f"{self.name} ended with status {self._popen.returncode}: {self.last_lines()}")

    def wait_for(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`.

        Raises:
            ProgramFailed: it ended, or it was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name} was not ready after {seconds:g} s: {self.last_lines()}")
            time.sleep(0.02)

    def last_lines(self) -> str:
        """The end of what it said."""
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-6:])

    def stop(self) -> None:
        """Ask it to end if it is worth waiting for, and see to it that all of it has."""
        if self._patience and self._popen.poll() is None:
            self.resume()
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(self._patience)
        for pid in machine.session(self._popen.pid):
            _send(pid, signal.SIGKILL)
        self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _signal(self, number: int) -> None:
        for pid in self.pids:
            _send(pid, number)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def run(command: Sequence[str], environment: Mapping[str, str], given: str = "", seconds: float = 600.0) -> str:
    """Run a helper to its end; returns what it printed.

    Raises:
        ProgramFailed: it failed, or took longer than `seconds`.
    """
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=told(environment), input=given, capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{' '.join(command[1:4])} took longer than {seconds:g} s") from None
    if done.returncode:
        raise ProgramFailed(f"{' '.join(command[1:4])} failed: {' | '.join(done.stderr.splitlines()[-6:])}")
    return done.stdout


def told(environment: Mapping[str, str]) -> dict[str, str]:
    """A whole environment: nothing of ours leaks in but where programs and homes are."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment}


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
