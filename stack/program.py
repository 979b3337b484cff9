"""A program to keep running, and one run of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

ROOT = Path(__file__).resolve().parent.parent
LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True)
class Program:
    """What the supervisor starts.

    Args:
        name: the prefix of its output.
        command: program and arguments; the program is looked up on PATH.
        environment: all of its environment.
        patience: seconds between SIGTERM and SIGKILL.
        later: nobody waits for it: it starts when the others are ready.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    patience: float = 5.0
    later: bool = False


class Process:
    """One run of a program, leader of a process group of its own and bound to the supervisor's life.

    Args:
        program: what to run.
        lifeline: reading end of the supervisor's pipe, see `stack.leash`.
    """

    def __init__(self, program: Program, lifeline: int) -> None:
        self.program = program
        self._popen = subprocess.Popen(
            [sys.executable, "-IS", str(LEASH), str(lifeline), str(program.patience), *program.command],
            env=dict(program.environment),
            cwd=ROOT,  # where `-m` and `-A` find the programs
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lifeline,),
            start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor only, which stops in order
            text=True,
            errors="replace",
        )

    @property
    def pid(self) -> int:
        """The program's own process id: the leash replaced itself by it."""
        return self._popen.pid

    def lines(self) -> Iterator[str]:
        """Its output, until nobody in its group holds it open."""
        with cast("IO[str]", self._popen.stdout) as output:
            for line in output:
                yield line.rstrip("\n")

    def wait(self) -> int:
        """Wait for its end, then clear away what it left in its group.

        Returns:
            The exit status, or minus the signal that ended it.
        """
        status = self._popen.wait()
        self._signal_group(signal.SIGKILL)
        return status

    def stop(self) -> None:
        """Ask it to finish; returns when it ended, after its patience at the latest."""
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(self.program.patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End its whole group at once."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self._popen.pid, number)  # the watcher in it keeps the number from being used again
        except (ProcessLookupError, PermissionError):  # nobody left; macOS says the latter of zombies
            return
