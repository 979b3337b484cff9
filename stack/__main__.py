"""`python -m stack`, behind `make run`: the whole service on one machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock

from core import settings
from stack import embedded, ports, readiness, welcome
from stack.program import ROOT
from stack.refusal import Refused
from stack.single import only_one
from stack.supervisor import Stack

READY_SECONDS = 60.0


def main() -> int:
    """Run the stack; returns the exit status: 0 after a stop that was asked for, 2 when it does not start."""
    try:
        found = _settings()
        with only_one(found.state_dir):
            ports.check(embedded.listeners(found))
            environment = embedded.told(os.environ, found)
            _migrate(environment)
            _run(found, environment)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was anything to stop
        return 130
    return 0


def _settings() -> settings.Settings:
    kind = os.environ.get("APP_ENV", "").strip()
    if kind in ("staging", "prod"):
        raise Refused(f"APP_ENV={kind} is not for this command; it should be dev (docker-compose.yml deploys)")
    os.environ.update(embedded.simulated(os.environ))
    try:
        return settings.start()
    except SystemExit as error:
        raise Refused(str(error)) from None


def _migrate(environment: dict[str, str]) -> None:
    done = subprocess.run(
        embedded.migrations(),
        check=False,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        print(done.stdout, end="", file=sys.stderr)
        raise Refused(f"The database's schema could not be brought up to date (exit status {done.returncode})")


def _run(found: settings.Settings, environment: dict[str, str]) -> None:
    if folder := embedded.broker_folder(found):
        shutil.rmtree(folder, ignore_errors=True)  # hints of the last run; the sweep gives those that still matter
    say = _speaker()
    stack = Stack(embedded.stages(found, environment), say)
    stopping = _stop_on_signals(stack)
    stack.start()
    problem = readiness.wait(f"{embedded.web_url(found)}/health/ready", READY_SECONDS, stopping)
    if not stopping.is_set():
        stack.start_later()
        say("stack", f"not ready after {READY_SECONDS:g} s, still trying: {problem}" if problem else "ready")
        for line in welcome.lines(found):
            say("stack", line)
    stopping.wait()
    say("stack", "stopping; Ctrl-C again ends everything at once")
    stack.stop()


def _stop_on_signals(stack: Stack) -> Event:
    """Set the event at the first SIGINT, SIGTERM or SIGHUP; the second ends everything at once."""
    stopping = Event()

    def asked(_number: int, _frame: object) -> None:
        if stopping.is_set():
            stack.kill()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, asked)
    return stopping


def _speaker() -> Callable[[str, str], None]:
    lock = Lock()

    def say(name: str, line: str) -> None:
        with lock, suppress(OSError):  # whoever read our output is gone; the stack goes on
            print(f"{name:<11} | {line}", flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
