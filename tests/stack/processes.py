"""Small real programs, and a way to wait for what they do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from stack.program import Program

BOUND_SECONDS = 20.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Poll until the condition holds; fail after a bound that only a hung test reaches."""
    deadline = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def python(name: str, code: str, *, patience: float = 10.0, **variables: str) -> Program:
    """A program that runs a few lines of Python."""
    return Program(name, (sys.executable, "-uc", code), {**os.environ, **variables}, patience)


def alive(pid: int) -> bool:
    """Whether the process exists and has not ended (a zombie has)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


class Transcript:
    """What was said, as (name, line) in order; stands where the terminal would."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self._lock = Lock()

    def __call__(self, name: str, line: str) -> None:
        with self._lock:
            self.said.append((name, line))

    def lines(self, name: str) -> list[str]:
        """The lines of one speaker."""
        return [line for speaker, line in self.said if speaker == name]

    def wait_for(self, name: str, line: str) -> None:
        """Wait until the speaker said a line that starts so."""
        eventually(lambda: any(said.startswith(line) for said in self.lines(name)), f"{name} says {line}")
