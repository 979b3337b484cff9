"""One example for each body and answer, as the documentation shows it (a test checks each against its model)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from web import answers, bodies

_ORDER_ID = "019b7a5e-0d3c-7a10-8a4e-5f1c2b3d4e5f"
_USER_ID = "019b7a5e-0d3b-7c02-9b1d-2a3b4c5d6e7f"
_JOB_ID = "019b7a5e-11f0-7e44-a1b2-c3d4e5f60718"
_REFUND_ID = "019b7a5f-20aa-7b55-b2c3-d4e5f6071829"
_AT = "2026-01-31T12:00:00.000Z"

_NEW_ORDER = {
    "user": {"email": "ada@example.com", "full_name": "Ada Lovelace"},
    "currency": "usd",
    "items": [{"name": "Difference engine, used", "unit_amount": 1050, "quantity": 2}],
    "reference": "shop-1001",
}
_CORE = {
    "id": _ORDER_ID,
    "user_id": _USER_ID,
    "status": "pending",
    "currency": "usd",
    "total": 2100,
    "items": _NEW_ORDER["items"],
    "reference": "shop-1001",
    "created_at": _AT,
}
_ORDER = {**_CORE, "disputed": False, "metadata": {}}
_CHECKOUT_DONE = {
    "job_id": _JOB_ID,
    "order_id": _ORDER_ID,
    "total": 2100,
    "currency": "usd",
    "client_secret": "pi_3Example_secret_Example",
    "payment_intent_id": "pi_3Example",
    "test_mode": False,
}
_JOB = {
    "id": _JOB_ID,
    "kind": "payments.create",
    "status": "succeeded",
    "attempts": 1,
    "result": {name: value for name, value in _CHECKOUT_DONE.items() if name != "job_id"},
    "error": None,
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": _AT,
}
_PAYMENT = {
    "id": "019b7a5e-0e11-7d33-8899-aabbccddeeff",
    "status": "requires_payment",
    "amount": 2100,
    "currency": "usd",
    "payment_intent_id": "pi_3Example",
    "client_secret": "pi_3Example_secret_Example",
    "test_mode": False,
    "created_at": _AT,
}
_TOTAL = {"currency": "usd", "orders": 3, "paid_orders": 2, "gross": 4200, "refunded": 500, "net": 3700}

EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    bodies.NewOrder: _NEW_ORDER,
    bodies.NewCheckout: {},
    bodies.NewRefund: {"amount": 500, "reason": "requested_by_customer"},
    bodies.NewRecompute: {},
    answers.PlacedOrder: {**_ORDER, "checkout_token": "cft_Example"},
    answers.OrderDetails: {
        **_ORDER,
        "status": "awaiting_payment",
        "payments": [_PAYMENT],
        "refunds": [],
        "disputes": [],
        "jobs": [_JOB],
    },
    answers.OrderForBrowser: {**_CORE, "status": "awaiting_payment", "payments": [_PAYMENT], "jobs": [_JOB]},
    answers.Job: {
        **_JOB,
        "order_id": _ORDER_ID,
        "request_id": "web-7f3a",
        "timeline": [{"id": 1, "at": _AT, "what": "accepted", "data": {"kind": "payments.create"}}],
    },
    answers.JobAccepted: {
        "job_id": _JOB_ID,
        "order_id": _ORDER_ID,
        "status": "queued",
        "status_url": f"/jobs/{_JOB_ID}",
    },
    answers.CheckoutDone: _CHECKOUT_DONE,
    answers.RefundDone: {
        "job_id": _JOB_ID,
        "order_id": _ORDER_ID,
        "refund_id": _REFUND_ID,
        "stripe_refund_id": "re_3Example",
        "amount": 500,
        "currency": "usd",
        "status": "succeeded",
    },
    answers.RecomputeDone: {"job_id": _JOB_ID, "status": "succeeded"},
    answers.UserStatistics: {
        "user_id": _USER_ID,
        "as_of": _AT,
        "currencies": [
            {"currency": "usd", "total_orders": 3, "paid_orders": 2, "total_spent": 3700, "avg_order": 1850}
        ],
    },
    answers.ShopStatistics: {"as_of": _AT, "series": [{"day": "2026-01-31", **_TOTAL}], "totals": [_TOTAL]},
    answers.Findings: {
        "findings": [
            {
                "id": "019b7a60-31bb-7c66-83d4-e5f607182930",
                "kind": "state_differs",
                "object_id": "pi_3Example",
                "order_id": _ORDER_ID,
                "status": "repaired",
                "detail": {"local": {"status": "requires_payment"}, "stripe": {"status": "succeeded"}},
                "found_at": _AT,
                "seen_at": _AT,
            }
        ]
    },
    answers.Received: {"status": "ok"},
    answers.Alive: {"status": "alive"},
    answers.Health: {"status": "ok", "checks": {"database": {"ok": True, "detail": "answers"}}},
    answers.Problem: {
        "type": "/problems/example",
        "title": "What went wrong",
        "status": 400,
        "detail": "What to do about it, for a person.",
        "request_id": "web-7f3a",
    },
}
