"""Run a command that ends when its supervisor does: `python leash.py FD SECONDS command ...`.

A second process, invisible to the command, reads the pipe FD whose only writing end the supervisor holds.
When that closes, however the supervisor died, it asks the command to stop and kills its whole group after
SECONDS. Portable, unlike Linux's parent-death signal, which also misses the command's own children.
"""

from __future__ import annotations

import os
import signal
import sys
import time

POLL_SECONDS = 0.05


def main() -> None:
    """Replace this process by the command, after leaving the watcher behind in the same process group."""
    pipe, patience, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    group = os.getpid()
    if os.fork() == 0:
        if os.fork() == 0:
            _watch(pipe, group, patience)
        os._exit(0)  # forked twice, so that the command never sees a child it did not start
    os.wait()
    os.close(pipe)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the supervisor's own list
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _watch(pipe: int, group: int, patience: float) -> None:
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.SIG_IGN)  # the supervisor stops the command; this one outlasts it
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)  # the command's output ends with the command
    os.read(pipe, 1)  # nobody writes: this returns when the supervisor is gone
    _end(group, patience)


def _end(group: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    try:
        os.kill(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(group, 0)
            time.sleep(POLL_SECONDS)
    except ProcessLookupError:
        pass  # it ended in time; what it started has not, perhaps
    os.killpg(group, signal.SIGKILL)  # this process too


if __name__ == "__main__":
    main()
