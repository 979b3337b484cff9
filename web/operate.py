"""The operator's commands: `flask --app web jobs ...`, `findings ...` and `prove`."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask.cli import AppGroup

from core.clock import rfc3339
from core.database import reading, transaction
from core.domain import findings as kept
from core.domain import jobs as work
from core.domain import leases, pauses
from core.proof import Proof, prove
from core.switches import enabled
from web.oneline import in_one_line

jobs = AppGroup("jobs", help="See what waits for a person, and send it back to the queue.")
findings = AppGroup("findings", help="See where Stripe and we differ, and close what is settled.")


@jobs.command("waiting")
def waiting() -> None:
    """List what is paused, the jobs that were set aside, and those that have been put back for an hour or more."""
    with in_one_line(), reading() as conn:
        paused, found = pauses.in_force(conn), work.set_aside(conn) + work.open_too_long(conn)
    for pause in paused:
        click.echo(f"paused  {pause.name}  since {rfc3339(pause.since)}  {pause.reason}")
    for job in found:
        detail = (job.error or {}).get("detail", "") if job.status in work.SET_ASIDE else _still_open(job)
        click.echo(f"{job.id}  {job.kind}  {job.status}  order {job.order_id or '-'}  {detail}")


def _still_open(job: work.Job) -> str:
    return f"since {rfc3339(job.created_at)}, attempts {job.attempts}: {job.detail or 'never begun'}"


@jobs.command("resume")
@click.argument("job_id")
@click.option("--by", required=True, help="Who decided, for the job's timeline.")
def resume(job_id: str, by: str) -> None:
    """Send a job that was set aside back to the queue; the sweep hints it."""
    with in_one_line(), transaction() as conn:
        sent = leases.resume(conn, job_id, by)
    if not sent:
        raise click.ClickException(f"no job {job_id} was set aside")
    click.echo(f"queued {job_id}")


@findings.command("list")
@click.option("--status", type=click.Choice([*kept.STATUSES, "all"]), default=kept.OPEN, show_default=True)
def listed(status: str) -> None:
    """List findings, oldest first."""
    with in_one_line(), reading() as conn:
        found = kept.listed(conn, status=None if status == "all" else status)
    for finding in found:
        click.echo(
            f"{finding.id}  {rfc3339(finding.found_at)}  {finding.status}  {finding.kind}  {finding.object_id}  "
            f"order {finding.order_id or '-'}"
        )


@findings.command("close")
@click.argument("finding_id")
def close(finding_id: str) -> None:
    """Say that an open finding is settled."""
    with in_one_line(), transaction() as conn:
        closed = kept.close(conn, finding_id)
    if not closed:
        raise click.ClickException(f"there is no open finding {finding_id}")
    click.echo(f"closed {finding_id}")


@click.command("prove")
def prove_command() -> None:
    """Hold ledger, rows and Stripe against each other, to the cent; exit status 1 when they differ."""
    if not enabled("STRIPE_ENABLED"):
        raise click.ClickException("STRIPE_ENABLED is off: there is nothing to hold our side against")
    with in_one_line():
        found = prove()
    for line in shown(found):
        click.echo(line)
    if not found.holds:
        raise SystemExit(1)


def shown(found: Proof) -> Iterator[str]:
    """The proof as lines: the totals, then each difference; minor units."""
    yield f"{'':10}{'':5}{'ledger':>15}{'rows':>15}{'Stripe':>15}"
    for total in found.totals:
        rows = "-" if total.rows is None else str(total.rows)
        yield f"{total.what:10}{total.currency:5}{total.ledger:>15}{rows:>15}{total.stripe:>15}"
    for one in found.differences:
        rows = "-" if one.rows is None else str(one.rows)
        sides = f"ledger {one.ledger}, rows {rows}, Stripe {one.stripe}"
        yield f"differs: {one.what} {one.object_id} {one.currency}: {sides}"
    for waiting in found.pending:
        yield f"not posted yet: {waiting.count} fees, {waiting.amount} {waiting.currency}"
    yield "proved: all sides agree" if found.holds else f"not proved: {len(found.differences)} differ"
