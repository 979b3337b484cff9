"""Orders: place, show, check out, refund."""

from __future__ import annotations

from flask import Response
from sqlalchemy import Connection

from core.crashpoints import crash_point
from core.database import reading
from core.domain import accounts, customers, disputes, jobs, openings, orders, payments, refunds
from core.errors import NotFound
from web import answers, tokens
from web.acceptance import accept, fingerprint, idempotency_key, in_transaction, job_request, outcome
from web.auth import Caller
from web.bodies import NewCheckout, NewOrder, NewRefund
from web.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_REQUIRED, PREFER
from web.routing import Routes, reply

routes = Routes("Orders")


@routes.post(
    "/orders",
    "Place an order",
    scope=accounts.CHECKOUT,
    body=NewOrder,
    headers=(IDEMPOTENCY_KEY,),
    answers={201: (answers.PlacedOrder,), 200: (answers.PlacedOrder,)},
    problems=(404, 409),
)
def place_order(caller: Caller, body: NewOrder) -> Response:
    """Place an order. The same `reference` (or Idempotency-Key) and body answer the same order, with 200."""
    key = idempotency_key()

    def place(conn: Connection) -> tuple[orders.Order, bool]:
        return orders.place(
            conn,
            account_id=caller.account_id,
            user_id=_user(conn, caller, body).id,
            currency=body.currency,
            items=[orders.Item(item.name, item.unit_amount, item.quantity) for item in body.items],
            reference=body.reference,
            metadata=body.metadata,
            key=key,
            fingerprint=fingerprint(body),
        )

    order, made = in_transaction(place)
    crash_point("web.order_placed")
    shown = answers.Order.model_validate(order).model_dump()
    token = tokens.issue(caller.account_id, order.id)
    return reply(
        answers.PlacedOrder(**shown, checkout_token=token),
        201 if made else 200,
        {"Location": f"/orders/{order.id}"},
    )


@routes.get(
    "/orders/<order_id>",
    "Show an order with its payments, refunds, disputes and jobs",
    scope=accounts.READ,
    browser=True,
    answers={200: (answers.OrderDetails, answers.OrderForBrowser)},
    problems=(404,),
)
def show_order(caller: Caller, order_id: str) -> Response:
    """Show an order. A checkout token is not shown the shop's metadata, refunds and disputes."""
    with reading() as conn:
        order = orders.find(conn, caller.account_id, order_id)
        if order is None:
            raise NotFound("there is no such order")
        found = {
            **vars(order),
            "payments": payments.of_order(conn, order.id),
            "refunds": refunds.of_order(conn, order.id),
            "disputes": disputes.of_order(conn, order.id),
            "jobs": [job for job in jobs.of_order(conn, order.id) if caller.may_see(job)],
        }
    shown = answers.OrderForBrowser if caller.order_id else answers.OrderDetails
    return reply(shown.model_validate(found))


@routes.post(
    "/orders/<order_id>/checkout",
    "Check an order out",
    scope=accounts.CHECKOUT,
    browser=True,
    body=NewCheckout,
    headers=(IDEMPOTENCY_KEY, PREFER),
    answers={202: (answers.JobAccepted,), 200: (answers.CheckoutDone,)},
    problems=(402, 404, 409, 502),
)
def checkout(caller: Caller, body: NewCheckout, order_id: str) -> Response:
    """Have a PaymentIntent made. However often it is asked, an order has at most one live payment."""
    asked = job_request(body, idempotency_key(), caller.order_id)
    accepted = accept(
        lambda conn: payments.request_checkout(conn, account_id=caller.account_id, order_id=order_id, request=asked),
        short=lambda: openings.open_checkout(caller.account_id, order_id, asked),
    )
    return outcome(accepted, answers.CheckoutDone)


@routes.post(
    "/orders/<order_id>/refunds",
    "Refund an order, in part or what is left",
    scope=accounts.REFUND,
    body=NewRefund,
    headers=(IDEMPOTENCY_KEY_REQUIRED, PREFER),
    answers={202: (answers.JobAccepted,), 200: (answers.RefundDone,)},
    problems=(404, 409, 502),
)
def refund(caller: Caller, body: NewRefund, order_id: str) -> Response:
    """Have a refund made. The key is required: a repeated partial refund looks just like a second one."""
    asked = job_request(body, idempotency_key(required=True))
    accepted = accept(
        lambda conn: refunds.request_refund(
            conn,
            account_id=caller.account_id,
            order_id=order_id,
            amount=body.amount,
            reason=body.reason,
            request=asked,
        )
    )
    return outcome(accepted, answers.RefundDone)


def _user(conn: Connection, caller: Caller, body: NewOrder) -> customers.User:
    if body.user is not None:
        return customers.find_or_add(conn, caller.account_id, body.user.email, body.user.full_name)
    user = customers.find(conn, caller.account_id, body.user_id or "")
    if user is None:
        raise NotFound("there is no such user")
    return user
