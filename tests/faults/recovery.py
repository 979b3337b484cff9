"""How long accepted work waited because of a fault.

T runs from what took a job's worker away, or from the end of an outage, until a worker has the job again: the lease
runs out, a sweep finds that, a hint arrives. The promise is about the product, so the time in which no worker, no beat
or no Stripe was there, or the broker or the database was out of order, is taken out, and so is the time for which an
answer of Stripe's, or the lack of one, had put the job off. Beside it stands the whole time to the job's end, with all
of that and whatever else hit the job on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from core.domain.leases import EXPIRIES_BEFORE_ALONE
from tests.faults.history import FAULT, HEALED, TAKEN, Line, answered
from tests.faults.presence import Span, one_program, outages, overlap

PUT_OFF = ("no answer from Stripe", *(f"Stripe {what}" for what in (
    "answered", "was not reached", "is busy", "asks us", "does not accept", "does not list", "is paused",
)))  # fmt: skip
"""How the reasons begin for which a job waits because of Stripe, and not of us."""


class Claimed(NamedTuple):
    """A worker took a job at a Unix time."""

    at: float
    worker: str


class Recovery(NamedTuple):
    """Seconds after one loss: T as it is promised, and the whole time to the job's end.

    `alone`: the job had lost the worker before this one, too, and waits for one to itself by design.
    """

    promised: float
    whole: float
    alone: bool = False


@dataclass(frozen=True)
class Evidence:
    """What tells whose fault a delay was.

    Args:
        claims: who took each job, oldest first, by the job's id.
        asked: the same for those who asked for it, whether they took it or not.
        gaps: when nobody was there to work.
    """

    claims: Mapping[str, Sequence[Claimed]]
    asked: Mapping[str, Sequence[Claimed]] = field(default_factory=dict)
    gaps: Sequence[Span] = ()


def read_claims(file: Path, what: str = TAKEN) -> dict[str, list[Claimed]]:
    """What the workers of `tests.faults.programs` noted of one sort; the last line may be torn by a kill."""
    found: dict[str, list[Claimed]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        at, _, rest = line.partition(" ")
        if rest.startswith(f"{what} ") and rest.count(" ") == 2:
            _, worker, job_id = rest.split(" ")
            found.setdefault(job_id, []).append(Claimed(float(at), worker))
    return found


def recoveries(lines: list[Line], evidence: Evidence) -> list[Recovery]:
    """One for each time that a fault held a job up.

    A job whose lease ran out counts from the first fault that hit its worker while it had the job; without one
    (its worker killed itself) from the moment when that worker took it. A job that was open when an outage ended was
    held up by it, and counts from that end.

    Args:
        lines: the history; the jobs are read from the clients' last look at them.
        evidence: who had the jobs, and when nobody could have them.
    """
    broken = [line for line in lines if line["what"] == FAULT]
    healed = [line["at"] for line in lines if line["what"] == HEALED and not one_program(line.get("target", ""))]
    nobody = [*evidence.gaps, *outages(lines)]
    found = []
    for job in ended_jobs(lines):
        spans = [*nobody, *_put_off(job)]
        end, taken = unix(job["finished_at"]), [claim.at for claim in evidence.claims.get(job["id"], ())]
        again = unix(job["created_at"])
        for begin, expired, alone in _losses(job, broken, evidence):
            again = min([end, *(at for at in taken if at > expired)])
            found.append(Recovery(again - begin - overlap(spans, begin, again), end - begin, alone))
        for begin in [at for at in healed if again <= at <= end][-1:]:  # while it did not wait for another reason
            again = min([end, *(at for at in taken if at > begin)])
            found.append(Recovery(again - begin - overlap(spans, begin, again), end - begin))
    return found


def first_waits(lines: list[Line], evidence: Evidence) -> list[float]:
    """Seconds, without the gaps, from each job's acceptance to the first time that a worker took it, sorted."""
    spans = [*evidence.gaps, *outages(lines)]
    taken = [(unix(job["created_at"]), evidence.claims[job["id"]][0].at) for job in ended_jobs(lines)
             if job["id"] in evidence.claims]  # fmt: skip
    return sorted(at - made - overlap(spans, made, at) for made, at in taken)


def ended_jobs(lines: list[Line]) -> Iterable[dict[str, Any]]:
    """The jobs that had ended at the clients' last look, as they were shown."""
    jobs = {call["id"]: answer["body"] for call, answer in answered(lines, "final")
            if call["kind"] == "job" and answer["status"] == 200}  # fmt: skip
    return [job for job in jobs.values() if job["finished_at"]]


def percentile(seconds: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of numbers, None of none."""
    return sorted(seconds)[ceil(share * len(seconds)) - 1] if seconds else None


def unix(moment: str) -> float:
    """The Unix time of an ISO moment."""
    return datetime.fromisoformat(moment).timestamp()


def _losses(job: dict[str, Any], broken: list[Line], evidence: Evidence) -> Iterator[tuple[float, float, bool]]:
    """When each worker of the job was lost, when its lease was seen to have run out, and whether it must run alone."""
    before = unix(job["created_at"])
    for line in job["timeline"]:
        if line["what"] == "lease expired":
            expired, times = unix(line["at"]), (line.get("data") or {}).get("times", 1)
            taken = _taken(job["id"], evidence, before, expired)
            yield _lost(taken, expired, broken), expired, times >= EXPIRIES_BEFORE_ALONE
        if line["what"] in ("lease expired", "retry"):
            before = unix(line["at"])


def _taken(job_id: str, evidence: Evidence, after: float, before: float) -> Claimed:
    """The claim of the lost worker; one that it did not live to note was made no earlier than the first who asked."""
    for noted, which in ((evidence.claims, -1), (evidence.asked, 0)):
        if found := [claim for claim in noted.get(job_id, ()) if after < claim.at < before]:
            return found[which]
    return Claimed(after, "worker")


def _put_off(job: dict[str, Any]) -> Iterator[Span]:
    for line in job["timeline"]:
        if line["what"] == "retry" and line["data"]["reason"].startswith(PUT_OFF):
            yield unix(line["at"]), unix(line["at"]) + line["data"]["delay"]


def _lost(taken: Claimed, expired: float, broken: list[Line]) -> float:
    hits = [line["at"] for line in broken if taken.at <= line["at"] <= expired and _hits(line, taken.worker)]
    return min(hits, default=taken.at)


def _hits(line: Line, worker: str) -> bool:
    target = line.get("target", "")
    return target.startswith(worker) or not one_program(target)
