"""`flask --app web payments ...` and `refunds ...`: what an operator does about money in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import AppGroup

from core import review
from core.database import reading
from core.domain import payments as paid
from core.domain import refunds as refunded
from core.sightings import Undecided
from core.switches import enabled
from web.oneline import in_one_line

payments = AppGroup("payments", help="See payments that wait for a person, and decide about them.")
refunds = AppGroup("refunds", help="See refunds that wait for a person, and decide about them.")

_by = click.option("--by", required=True, help="Who decided, for the timeline.")


@payments.command("review")
def payments_in_review() -> None:
    """List the payments that wait for a person, and why; minor units."""
    with in_one_line(), reading() as conn:
        found = paid.in_review(conn)
    for row in found:
        _show(row.id, row.order_id, row.amount, row.currency, row.payment_intent_id, row.detail)


@payments.command("settle")
@click.argument("payment_id")
@click.option("--intent", default=None, help="The PaymentIntent that counts, where Stripe shows several.")
@_by
def settle_payment(payment_id: str, intent: str | None, by: str) -> None:
    """Take what Stripe shows of the payment as the truth."""
    with _deciding():
        _tell(review.settle_payment(payment_id, by, intent))


@payments.command("discard")
@click.argument("payment_id")
@_by
def discard_payment(payment_id: str, by: str) -> None:
    """Cancel the payment, at Stripe too, so that its order can be checked out again."""
    with _deciding():
        _tell(review.discard_payment(payment_id, by))


@refunds.command("review")
def refunds_in_review() -> None:
    """List the refunds that wait for a person, and why; minor units."""
    with in_one_line(), reading() as conn:
        found = refunded.in_review(conn)
    for row in found:
        _show(row.id, row.order_id, row.amount, row.currency, row.stripe_refund_id, row.detail)


@refunds.command("settle")
@click.argument("refund_id")
@click.option("--refund", "stripe_refund_id", default=None, help="Stripe's refund that counts, where it shows several.")
@_by
def settle_refund(refund_id: str, stripe_refund_id: str | None, by: str) -> None:
    """Take what Stripe shows of the refund as the truth."""
    with _deciding():
        _tell(review.settle_refund(refund_id, by, stripe_refund_id))


@refunds.command("discard")
@click.argument("refund_id")
@_by
def discard_refund(refund_id: str, by: str) -> None:
    """Free the refund's amount; refused unless Stripe gave nothing back."""
    with _deciding():
        _tell(review.discard_refund(refund_id, by))


@contextmanager
def _deciding() -> Iterator[None]:
    if not enabled("STRIPE_ENABLED"):
        raise click.ClickException("STRIPE_ENABLED is off: only Stripe knows what happened")
    try:
        with in_one_line():
            yield
    except Undecided as error:
        raise click.ClickException(str(error)) from error


def _tell(decision: review.Decision) -> None:
    click.echo(decision.line)
    for job in decision.set_aside:
        detail = (job.error or {}).get("detail", "")
        click.echo(f"still set aside: {job.id}  {job.kind}  {detail}")


def _show(row_id: str, order_id: str, amount: int, currency: str, stripe_id: str | None, detail: str | None) -> None:
    click.echo(f"{row_id}  order {order_id}  {amount} {currency}  {stripe_id or '-'}  {detail or ''}")
