"""Measures the README's promise: how long from `git clone` to the first paid order.

    python3 -m docs.first_order [REPOSITORY]

Clones into a temporary folder, runs `make run` there and the README's own commands until the order is paid. The
package cache is whatever this machine has. Prints the whole time, and how much of it was ours: all but installing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

from docs.transcript import README, Step, run, written

READY_SECONDS = 600.0


def main(repository: str) -> None:
    """Clone, install, start, order, pay; print the times."""
    with TemporaryDirectory() as folder:
        began = monotonic()
        home = Path(folder, "counterfoil")
        subprocess.run(["git", "clone", "--quiet", repository, str(home)], check=True)  # noqa: S607
        cloned = monotonic()
        subprocess.run(["make", "runtime"], cwd=home, check=True)  # noqa: S607 - the first thing that `make run` does
        installed = monotonic()
        paid = _order(home)
    whole, ours = paid - began, paid - began - (installed - cloned)
    print(f"{whole:.1f} s from clone to the first paid order, {ours:.1f} s of it ours")


def _order(home: Path) -> float:
    web, simulator, flower = _free_ports()
    ports = {"PORT": str(web), "SIMULATOR_PORT": str(simulator), "FLOWER_PORT": str(flower)}
    stack = subprocess.Popen(["make", "run"], cwd=home, env={**os.environ, **ports}, stdout=subprocess.DEVNULL)  # noqa: S607
    try:
        _wait(f"http://127.0.0.1:{web}/health/ready")
        instead = {
            "127.0.0.1:8000": f"127.0.0.1:{web}",
            "127.0.0.1:12111": f"127.0.0.1:{simulator}",
            "var/": f"{home}/var/",
        }
        done = list(run(_until_paid(), instead))
        if done[-1].answer != "paid\n":
            raise SystemExit(f"not paid: {done[-1].answer}")
        return monotonic()
    finally:
        stack.terminate()
        stack.wait()


def _until_paid() -> list[Step]:
    steps = written()
    return steps[: next(n for n, step in enumerate(steps) if step.answer == "paid\n") + 1]


def _free_ports() -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def _wait(url: str) -> None:
    deadline = monotonic() + READY_SECONDS
    while monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except (URLError, ConnectionError):
            sleep(0.05)
    raise SystemExit("not ready")


if __name__ == "__main__":
    main(*(sys.argv[1:] or [str(README.parent)]))
