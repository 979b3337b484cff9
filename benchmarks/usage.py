"""What a stretch of time cost, by role."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from benchmarks import machine
from benchmarks.postgres import Database
from benchmarks.processes import Program


class Usage:
    """CPU time since it was made, by role: those of `programs`, the database's backends, and everybody else.

    Args:
        programs: by role, for example worker, web, broker, gateway.
        database: whose backends count as the role `database` (the server's writers serve all databases and do not).
    """

    def __init__(self, programs: Mapping[str, Sequence[Program]], database: Database) -> None:
        self._programs = programs
        self._database = database
        self._began = self._read()
        self._seconds = time.monotonic()
        self._busy = machine.busy_seconds()

    def look(self) -> None:
        """Call now and then, so that a backend that ends in between is not missed."""
        self._database.cpu_seconds()

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far, by role; `others` is what does not belong to this benchmark."""
        now, busy, seconds = self._read(), machine.busy_seconds(), time.monotonic() - self._seconds
        spent = {role: now[role] - self._began[role] for role in now}
        others = max(busy - self._busy - sum(spent.values()), 0.0)
        harness = spent.pop("harness")
        return {**spent, "harness": harness, "others": others, "elapsed": seconds}

    def memory_mb(self) -> dict[str, float]:
        """Memory by role right now, in MB; `database` without what its backends share."""
        roles = {role: machine.memory_mb(self._pids(role)) for role in self._programs}
        return {**roles, "database": machine.memory_mb(self._database.backends())}

    def _read(self) -> dict[str, float]:
        own = os.times()
        roles = {role: machine.cpu_seconds(self._pids(role)) for role in self._programs}
        return {
            **roles,
            "database": self._database.cpu_seconds(),
            "harness": own.user + own.system + own.children_user + own.children_system,
        }

    def _pids(self, role: str) -> list[int]:
        return [pid for program in self._programs[role] for pid in program.pids]
