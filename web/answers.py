"""What answers carry: the documented models are the ones that are sent."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from core.clock import rfc3339

Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json"), Field(description="UTC")]
Minor = Annotated[int, Field(description="minor units")]


class Answer(BaseModel):
    """An answer, readable from a value of the domain with the same fields."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Item(Answer):
    """One line of an order."""

    name: str
    unit_amount: Minor
    quantity: int


class OrderCore(Answer):
    """What everybody who may see an order sees of it."""

    id: str
    user_id: str
    status: str
    currency: str
    total: Minor
    items: list[Item]
    reference: str | None
    created_at: Moment


class Order(OrderCore):
    """An order."""

    disputed: bool
    metadata: dict[str, str]


class PlacedOrder(Order):
    """An order and the token with which its customer's browser may check it out."""

    checkout_token: Annotated[str, Field(description="Bearer token for this order only, for 24 hours")]


class Payment(Answer):
    """A PaymentIntent of an order."""

    id: str
    status: str
    amount: Minor
    currency: str
    payment_intent_id: str | None
    client_secret: str | None
    test_mode: bool
    created_at: Moment


class Refund(Answer):
    """A refund of an order."""

    id: str
    status: str
    amount: Minor
    currency: str
    reason: str | None
    stripe_refund_id: str | None
    created_at: Moment


class Dispute(Answer):
    """A dispute about an order, in Stripe's words."""

    id: str
    stripe_dispute_id: str
    status: str
    amount: Minor
    currency: str
    reason: str | None
    created_at: Moment


class JobSummary(Answer):
    """A job without its timeline."""

    id: str
    kind: str
    status: str
    attempts: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None


class OrderDetails(Order):
    """An order with all that happened to it."""

    payments: list[Payment]
    refunds: list[Refund]
    disputes: list[Dispute]
    jobs: list[JobSummary]


class OrderForBrowser(OrderCore):
    """What a checkout token sees of its order: not the shop's own notes, nor refunds and disputes."""

    payments: list[Payment]
    jobs: list[JobSummary]


class Event(Answer):
    """A line of a job's timeline."""

    id: int
    at: Moment
    what: str
    data: dict[str, Any] | None


class Job(JobSummary):
    """A job and what happened to it."""

    order_id: str | None
    request_id: str | None
    timeline: list[Event]


class JobAccepted(Answer):
    """The work is stored and will be done; `status_url` tells how it goes."""

    job_id: str
    order_id: str | None
    status: str
    status_url: str


class CheckoutDone(Answer):
    """The PaymentIntent for the browser to confirm."""

    job_id: str
    order_id: str
    total: Minor
    currency: str
    client_secret: str | None
    payment_intent_id: str | None
    test_mode: bool = False


class RefundDone(Answer):
    """The refund as Stripe took it."""

    job_id: str
    order_id: str
    refund_id: str
    stripe_refund_id: str | None
    amount: Minor
    currency: str
    status: str


class RecomputeDone(Answer):
    """The statistics are rebuilt."""

    job_id: str
    status: str


class UserCurrency(Answer):
    """A customer's numbers in one currency."""

    currency: str
    total_orders: int
    paid_orders: int
    total_spent: Minor
    avg_order: Minor


class UserStatistics(Answer):
    """A customer's numbers, never across currencies."""

    user_id: str
    as_of: Moment
    currencies: list[UserCurrency]


class CurrencyTotal(Answer):
    """Sums in one currency."""

    currency: str
    orders: int
    paid_orders: int
    gross: Minor
    refunded: Minor
    net: Minor


class Day(CurrencyTotal):
    """One UTC day in one currency."""

    day: date


class ShopStatistics(Answer):
    """The shop's days as last rebuilt; `as_of` is null before the first time."""

    as_of: Moment | None
    series: list[Day]
    totals: list[CurrencyTotal]


class Received(Answer):
    """The event is stored."""

    status: Literal["ok"] = "ok"


class Alive(Answer):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Check(Answer):
    """One thing that readiness depends on."""

    ok: bool
    detail: str


class Health(Answer):
    """`ok` only if every check is."""

    status: Literal["ok", "failing"]
    checks: dict[str, Check]


class FieldError(Answer):
    """What is wrong with one field."""

    field: str
    problem: str


class Problem(Answer):
    """RFC 9457. `type` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] | None = None
    job_id: str | None = None


class Finding(Answer):
    """A difference between Stripe and us; `detail` holds both sides."""

    id: str
    kind: str
    object_id: Annotated[str, Field(description="Stripe's id")]
    order_id: str | None
    status: str
    detail: dict[str, Any]
    found_at: Moment
    seen_at: Moment


class Findings(Answer):
    """Findings, oldest first."""

    findings: list[Finding]
