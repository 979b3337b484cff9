"""What the kernel says about processes: CPU time and memory of a session, and what everybody else used."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


def session(leader: int) -> list[int]:
    """Living processes of the session that `leader` began; what we start begins its own."""
    return [pid for pid in _pids() if _fields(pid)[3:4] == [str(leader)]]


def command(pid: int) -> str:
    """The command line of a process, empty when it has ended."""
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_text().replace("\0", " ")
    return ""


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of `pids`, with that of their children that ended and were waited for."""
    return sum(map(_cpu_seconds, pids))


def _cpu_seconds(pid: int) -> float:
    own, children = _ticks(pid)
    # Ticks round down 10 ms for each process, which is much of what a database backend uses; the scheduler counts
    # nanoseconds, but only of threads that live.
    return max(own / TICKS, _nanoseconds(pid) / 1e9) + children / TICKS


def _ticks(pid: int) -> tuple[int, int]:
    fields = _fields(pid)[11:15]
    return (sum(map(int, fields[:2])), sum(map(int, fields[2:])))


def _nanoseconds(pid: int) -> int:
    total = 0
    with suppress(OSError):  # it ended, or the kernel keeps no such statistics
        for thread in os.listdir(PROC / str(pid) / "task"):
            total += int((PROC / str(pid) / "task" / thread / "schedstat").read_text().split()[0])
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Memory of `pids` in MB, each shared page divided among those who share it."""
    return sum(map(_memory, pids)) / 1e6


def busy_seconds() -> float:
    """CPU time that all cores together spent not idle since boot."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, _stat_line().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def pin(cores: int) -> int:
    """Keep this process, and all that it starts, on the first `cores` cores; returns how many it got."""
    ours = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, ours)
    return len(ours)


def facts(cores: int) -> dict[str, str | int]:
    """What a reader must know of the machine to compare figures."""
    models = [line for line in (PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(": ")[2] if models else platform.machine(),
        "cores_used": cores,
        "cores_present": os.cpu_count() or 0,
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _pids() -> Iterable[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]


def _fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third (state) on, empty when it has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _memory(pid: int) -> int:
    with suppress(OSError):  # it ended, or it is another user's: then count what it does not share
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError):
        _size, resident, shared, *_ = map(int, (PROC / str(pid) / "statm").read_text().split())
        return (resident - shared) * PAGE
    return 0


def _stat_line() -> str:
    with (PROC / "stat").open() as file:
        return file.readline()
