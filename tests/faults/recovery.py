"""How long accepted work waited because of a fault: from the fault to the end of each job that it interrupted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.faults.history import FAULT, HEALED, Line, answered


def recoveries(lines: list[Line], lease_seconds: float) -> list[float]:
    """Seconds from what interrupted a job to the job's end, one per interrupted job, sorted.

    A job was interrupted when its timeline says that a lease ran out: by the first fault within that lease. A job
    that was open when something was healed was held up by it, and counts from the healing.

    Args:
        lines: the history; the jobs are read from the clients' last look at them.
        lease_seconds: length of a lease.
    """
    broken = [line["at"] for line in lines if line["what"] == FAULT]
    healed = [line["at"] for line in lines if line["what"] == HEALED]
    jobs = {call["id"]: answer["body"] for call, answer in answered(lines, "final")
            if call["kind"] == "job" and answer["status"] == 200}  # fmt: skip
    found = [_recovery(job, broken, healed, lease_seconds) for job in jobs.values() if job["finished_at"]]
    return sorted(seconds for seconds in found if seconds is not None)


def percentile(seconds: list[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted numbers, None of none."""
    return seconds[min(int(len(seconds) * share), len(seconds) - 1)] if seconds else None


def _recovery(job: dict[str, Any], broken: list[float], healed: list[float], lease_seconds: float) -> float | None:
    end, made = _unix(job["finished_at"]), _unix(job["created_at"])
    expiries = [_unix(line["at"]) for line in job["timeline"] if line["what"] == "lease expired"]
    if expiries:
        last = expiries[-1]
        hits = [at for at in broken if last - lease_seconds - 2.0 <= at <= last]
        return end - min(hits) if hits else end - (last - lease_seconds)
    held_up = [at for at in healed if made <= at <= end]
    return end - held_up[-1] if held_up else None


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
