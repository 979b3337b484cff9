"""Keeps one program running: starts it, passes its output on, and starts it again when it dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic

from stack.program import Process, Program

LAST_WORDS_SECONDS = 2.0
"""For output still to read after a death; somebody who left the group may hold the pipe open for longer."""

Say = Callable[[str, str], None]
"""Takes the speaker's name and one line."""


@dataclass
class Backoff:
    """How long to wait before the next start.

    Args:
        first: seconds after the first death.
        most: seconds that doubling never exceeds.
        steady: a run of so many seconds was a good one: the count starts anew.
    """

    first: float = 0.5
    most: float = 10.0
    steady: float = 20.0
    _next: float = 0.0

    def after(self, ran: float) -> float:
        """Seconds to wait, given that the last run took `ran` seconds."""
        pause = self.first if ran >= self.steady or not self._next else self._next
        self._next = min(pause * 2, self.most)
        return pause


class Keeper:
    """One program's guardian, a thread of its own.

    Args:
        program: what to keep running.
        lifeline: reading end of the supervisor's pipe, see `stack.leash`.
        say: where output and news go.
        backoff: the pause before each new start.
    """

    def __init__(self, program: Program, lifeline: int, say: Say, backoff: Backoff | None = None) -> None:
        self.program = program
        self._lifeline = lifeline
        self._say = say
        self._backoff = backoff or Backoff()
        self._stopping = Event()
        self._process: Process | None = None
        self._lock = Lock()
        self._thread = Thread(target=self._keep, name=f"keep-{program.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """Process id of the present run, None between two."""
        process = self._process
        return process.pid if process else None

    def start(self) -> None:
        """Start the program; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the program for good; returns when it is gone, after its patience at the latest."""
        process = self._stop_restarting()
        if process:
            process.stop()
        self._join()

    def kill(self) -> None:
        """End the program for good, at once."""
        process = self._stop_restarting()
        if process:
            process.kill()
        self._join()

    def _stop_restarting(self) -> Process | None:
        with self._lock:
            self._stopping.set()
            return self._process

    def _join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            started = monotonic()
            ending = self._run()
            if not self._stopping.is_set():
                pause = self._backoff.after(monotonic() - started)
                self._say(self.program.name, f"ended ({ending}); starting again in {pause:g} s")
                self._stopping.wait(pause)

    def _run(self) -> str:
        try:
            process = self._spawn()
        except OSError as error:  # the machine is out of memory, processes or files: perhaps not for long
            return str(error)
        return _ending(self._watch(process)) if process else "stopped"

    def _spawn(self) -> Process | None:
        with self._lock:  # a stop comes either before the start or finds the process
            if self._stopping.is_set():
                return None
            self._process = Process(self.program, self._lifeline)
            return self._process

    def _watch(self, process: Process) -> int:
        pump = Thread(target=self._pass_on, args=(process,), name=f"output-{self.program.name}", daemon=True)
        pump.start()
        status = process.wait()
        pump.join(LAST_WORDS_SECONDS)
        with self._lock:
            self._process = None
        return status

    def _pass_on(self, process: Process) -> None:
        for line in process.lines():
            self._say(self.program.name, line)


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
