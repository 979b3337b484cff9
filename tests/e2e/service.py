"""A service under test: the programs of `make run`, each a process of its own, on ports and in a folder of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from core import settings
from core.settings import Settings
from stack import embedded, ports, readiness
from stack.program import ROOT
from stack.refusal import Refused
from stack.supervisor import Stack
from tests.conftest import OURS

READY_SECONDS = 90.0
"""Two cores that also run other tests start five programs slowly."""


@dataclass(frozen=True)
class Service:
    """Where a running service is, and what its programs were told."""

    settings: Settings
    environment: Mapping[str, str]

    @property
    def web(self) -> str:
        """The web's address."""
        return embedded.web_url(self.settings)

    @property
    def stripe(self) -> str:
        """The address of what stands in for Stripe."""
        return str(self.settings.stripe_api_base)

    @property
    def flower(self) -> str:
        """Flower's address."""
        return f"http://127.0.0.1:{self.settings.flower_port}"

    @property
    def api_key(self) -> str:
        """The key with all scopes that dev makes."""
        key = self.settings.bootstrap_api_key
        assert key
        return key.get_secret_value()


@contextmanager
def made_by_make_run(state_dir: Path, **variables: str) -> Iterator[Service]:
    """The service as `make run` starts it, and ends it: SIGTERM, and an exit status of 0."""
    service = _described(state_dir, variables)
    with subprocess.Popen([sys.executable, "-m", "stack"], env=dict(service.environment), cwd=ROOT) as run:
        try:
            _wait_until_ready(service, lambda: run.poll() is not None)
            yield service
        finally:
            run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0


@contextmanager
def supervised(
    state_dir: Path, without: tuple[str, ...] = ("flower",), **variables: str
) -> Iterator[tuple[Service, Stack]]:
    """The same programs under the same supervisor in this process, which tells their process ids.

    Args:
        state_dir: the service's STATE_DIR.
        without: names of programs to leave out.
        variables: further settings; a DATABASE_URL must lead to a migrated database.
    """
    service = _described(state_dir, variables)
    environment = embedded.told(service.environment, service.settings)
    if "DATABASE_URL" not in variables:
        subprocess.run(embedded.migrations(), env=environment, cwd=ROOT, check=True)
    stages = [
        [program for program in stage if program.name not in without]
        for stage in embedded.stages(service.settings, environment)
    ]
    with Stack(stages, lambda name, line: print(f"{name:<9} | {line}\n", end="")) as stack:
        _wait_until_ready(service)
        yield service, stack


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, from below the range that outgoing connections are given."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randint(20_000, 32_000)
        with suppress(Refused):
            ports.check([("PORT", "127.0.0.1", port)])
            found.add(port)
    return sorted(found)


def _described(state_dir: Path, variables: Mapping[str, str]) -> Service:
    state_dir.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    numbers = map(str, free_ports(3))
    own = {"STATE_DIR": str(state_dir), **dict(zip(("PORT", "SIMULATOR_PORT", "FLOWER_PORT"), numbers, strict=True))}
    environment = embedded.simulated({**inherited, **own, **variables})
    return Service(_read(environment), environment)


def _read(environment: Mapping[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        return settings.load()


def _wait_until_ready(service: Service, ended: Callable[[], bool] = lambda: False) -> None:
    stopping = Event()

    def ask(url: str) -> str | None:
        if ended():
            stopping.set()
        return readiness.ask(url)

    problem = readiness.wait(f"{service.web}/health/ready", READY_SECONDS, stopping, ask)
    assert problem is None, problem
