"""F: how long a start takes: imports, and everything together until the first order was accepted."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from benchmarks.processes import Program, ProgramFailed, free_port
from benchmarks.processes import run as run_program
from benchmarks.results import Sample, summaries
from benchmarks.stage import Numbers, Stage
from benchmarks.table import Column, table
from benchmarks.wire import API_KEY

NAME = "F"
PATIENCE = 30.0
LONGEST = 90.0
IMPORTS = {"web": "web.factory", "worker": "worker.tasks"}
_TIMED = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
_direct = build_opener(ProxyHandler({}))


def run(stage: Stage) -> None:
    """Imports and starts, in turns."""
    if not stage.ours():
        return
    for number in range(stage.options.size.repetitions):
        for name, module in IMPORTS.items():
            stage.measure(NAME, f"import of {name}", imported, stage, module)
        folder = stage.bed.folder / f"stack-{number}"
        stage.measure(NAME, "start to first accepted checkout", started, folder)


def imported(stage: Stage, module: str) -> Numbers:
    """Import a module in a fresh process; its bytecode is compiled by then, as it is after an installation."""
    environment = {**stage.product.environment(), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", _TIMED.format(module=module)]
    return {"seconds": float(run_program(command, environment))}


def started(folder: Path) -> Numbers:
    """Start what `make run` starts (its environment being installed) and check an order out as soon as it is possible.

    Raises:
        ProgramFailed: that was not possible in time.
    """
    port = free_port()
    environment = {
        "STATE_DIR": str(folder), "PORT": str(port), "SIMULATOR_PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()), "BOOTSTRAP_API_KEY": API_KEY, "LOG_LEVEL": "WARNING",
    }  # fmt: skip
    folder.mkdir(parents=True)
    began = time.monotonic()
    with Program("stack", [sys.executable, "-m", "stack"], environment, folder.parent, PATIENCE) as stack:
        order = _posted(stack, port, "/orders", _ORDER, began)
        ordered = time.monotonic() - began
        _posted(stack, port, f"/orders/{order['id']}/checkout", {}, began)
        accepted = time.monotonic() - began
    return {"seconds": accepted, "first_order": ordered}


_ORDER = {
    "user": {"email": "ada@example.com", "full_name": "Ada Lovelace"},
    "currency": "usd",
    "items": [{"name": "book", "unit_amount": 1050, "quantity": 1}],
}


def _posted(stack: Program, port: int, path: str, body: Mapping[str, object], began: float) -> Mapping[str, str]:
    asked = Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
    )
    while True:
        stack.check()
        try:
            with _direct.open(asked, timeout=10) as answer:
                found: Mapping[str, str] = json.load(answer)
                return found
        except (URLError, ConnectionError) as error:
            if time.monotonic() - began > LONGEST:
                raise ProgramFailed(f"nothing accepted after {LONGEST:g} s: {error}") from error
            time.sleep(0.02)


def show(samples: Sequence[Sample], product: str) -> str:
    """The table."""
    seconds = Column("seconds", "seconds", "{:.2f}".format)
    return f"F. {product}: start\n\n{table(summaries(samples, NAME), [seconds], None, 'seconds')}"
