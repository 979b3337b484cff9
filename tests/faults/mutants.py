"""Each guard removed in turn, in a copy of the tree: a harness that does not notice proves nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stack.program import ROOT
from tests.faults.run import Result

COPIED = ("core", "web", "worker", "simulator", "stack", "tests")
PATIENCE = 20
"""Seconds in which a mutant's jobs may still end well; it will not do them good."""
LONGEST_RUN = 240


@dataclass(frozen=True)
class Edit:
    """A piece of code and what stands in its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A guard removed, and the case in which that must show.

    Args:
        edits: what is changed. Where two guards cover each other, both go.
        case: what to run, with which database and how many operations.
        letters: the violations of which at least one must be seen; others may be the slowness of the machine.
    """

    edits: tuple[Edit, ...]
    case: str
    letters: str
    database: str = "sqlite"
    operations: int = 100


_SCHEMA = "core/migrations/versions/0001_the_first_schema.py"
_LIVE_PAYMENT = (
    "    AND NOT EXISTS (SELECT FROM payments WHERE payments.order_id = orders.id AND payments.status IN ({_LIVE})"
    " OFFSET 0)\n"
)
_KNOWN_KEY = """    AND NOT EXISTS (SELECT FROM jobs WHERE jobs.account_id = given.account
        AND jobs.idempotency_scope = given.scope AND jobs.idempotency_key = given.key OFFSET 0)
"""


def _not_unique(name: str, table: str, columns: str) -> Edit:
    kept = f'"{name}",\n        "{table}",\n        [{columns}],\n        unique='
    return Edit(_SCHEMA, f"{kept}True", f"{kept}False")


MUTANTS: dict[str, Mutant] = {
    "fence": Mutant(
        (Edit("core/domain/leases.py", " & (jobs.c.lease_token == claim.token)", ""),), "stopped", "OF"
    ),
    "fence-postgresql": Mutant(  # whose ordinary checkouts end in one statement with fences of its own
        (
            Edit("core/domain/leases.py", " & (jobs.c.lease_token == claim.token)", ""),
            Edit("core/domain/endings.py", " AND jobs.lease_token = token\n", "\n"),
        ),
        "stopped",
        "OF",
        "postgresql",
    ),
    "unique-reference": Mutant(
        (_not_unique("uq_orders_reference", "orders", '"account_id", "reference"'),), "calm", "C"
    ),
    "unique-key": Mutant(
        (
            _not_unique("uq_jobs_idempotency", "jobs", '"account_id", "idempotency_scope", "idempotency_key"'),
            Edit("core/domain/jobs.py", "    if request.key is None:\n        return None\n", "    return None\n"),
        ),
        "calm",
        "C",
    ),
    "one-live-payment": Mutant(
        (
            _not_unique("uq_payments_live", "payments", '"order_id"'),
            Edit("core/domain/payments.py", "    payment = _live(conn, order.id)\n", "    payment = None\n"),
        ),
        "calm",
        "C",
    ),
    # The short way into a checkout has these two for itself.
    "unique-key-short": Mutant(
        (
            _not_unique("uq_jobs_idempotency", "jobs", '"account_id", "idempotency_scope", "idempotency_key"'),
            Edit("core/domain/jobs.py", "    if request.key is None:\n        return None\n", "    return None\n"),
            Edit("core/domain/openings.py", _KNOWN_KEY, ""),
        ),
        "calm", "C", "postgresql",
    ),
    "one-live-payment-short": Mutant(
        (
            _not_unique("uq_payments_live", "payments", '"order_id"'),
            Edit("core/domain/payments.py", "    payment = _live(conn, order.id)\n", "    payment = None\n"),
            Edit("core/domain/openings.py", _LIVE_PAYMENT, ""),
        ),
        "calm", "C", "postgresql",
    ),
    "order-lock": Mutant(
        (
            Edit("core/domain/orders.py", ".where(mine).with_for_update()", ".where(mine)"),
            Edit("core/domain/checkouts.py", "    FOR UPDATE OF orders SKIP LOCKED\n", ""),
            Edit("core/domain/news.py", "    FOR UPDATE OF orders SKIP LOCKED\n", ""),
            Edit("core/domain/openings.py", "    FOR UPDATE OF orders SKIP LOCKED\n", ""),
        ),
        "calm", "LRO", "postgresql", 300,
    ),
    "charge-key": Mutant(
        (Edit("core/domain/payments.py", 'f"payment:{self.id}:{self.epoch}"', 'f"payment:{new_id()}"'),),
        "lost-answers", "C",
    ),
    "refund-key": Mutant(  # webhooks drop: one that tells of the first refund keeps a second from being made
        (
            Edit("core/domain/refunds.py", 'f"refund:{self.id}:{self.epoch}"', 'f"refund:{new_id()}"'),
            Edit("worker/flows/refund.py", " or row.status == refunds.UNKNOWN or work.claim.attempt > 1:", ":"),
        ),
        "unheard",
        "R",
        operations=300,
    ),
    "refund-bound": Mutant(
        (
            Edit("core/domain/refunds.py", "    if left <= 0:\n", "    if left < -(10**9):\n"),
            Edit("core/domain/refunds.py", "    if amount > left:\n", "    if amount > left + 10**9:\n"),
        ),
        "calm",
        "LR",
        operations=150,
    ),
    "inbox": Mutant(
        (Edit(_SCHEMA, '        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),\n', ""),),
        "webhooks", "C", operations=200,
    ),
    "sweep": Mutant(
        (Edit("worker/sweep.py", "        expired = leases.expire(conn, BATCH)\n", "        expired = list[str]()\n"),),
        "kills",
        "L",
        operations=120,
    ),
}  # fmt: skip


class Drifted(Exception):
    """The code does not read as the mutant expects: the mutant must be written anew."""


def copy(mutant: Mutant, folder: Path) -> None:
    """Make a tree without the guard.

    Raises:
        Drifted: an edit's old text is not there exactly once.
    """
    folder.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "celeryconfig.py", folder)
    for edit in mutant.edits:
        changed = folder / edit.file
        text = changed.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise Drifted(f"{edit.file} has {text.count(edit.old)} of {edit.old!r}")
        changed.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def run(mutant: Mutant, folder: Path, seed: int) -> Result:
    """Run its case in the copy, by the copy's own harness."""
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "tests.faults", "--case", mutant.case, "--database", mutant.database,
        "--operations", str(mutant.operations), "--seed", str(seed), "--patience", str(PATIENCE),
        "--results", str(results),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        return Result(0, 0.0, [], [], broken=[f"the harness did not end in {LONGEST_RUN} s"])
    rows = json.loads(results.read_text()) if results.exists() else []
    if not rows:
        return Result(0, 0.0, [], [], broken=[f"the harness ended with {done.returncode}: {done.stderr[-500:]}"])
    result = Result.of(rows[0])
    if result.violations and not seen(mutant, result):
        result.broken.append(f"none of {', '.join(mutant.letters)} was seen, only others")
    return result


def seen(mutant: Mutant, result: Result) -> bool:
    """Whether the guard's own kind of violation showed."""
    return any(result.count(letter) for letter in mutant.letters)
