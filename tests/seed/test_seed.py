"""The contract's own code, run as it stands."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
import stripe
from dotenv import dotenv_values
from fastapi import APIRouter, FastAPI, HTTPException
from sqlalchemy.orm import Session

from core import PaymentError, cache, payment, settings
from core.monitoring import collecting
from tests.seed.client import TestClient
from tests.seed.conftest import Services
from tests.seed.shop import BLOCKS, ExternalAPIError, Order, User, block, names, run


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    """All levels are heard."""
    caplog.set_level(logging.DEBUG)


@pytest.fixture(autouse=True)
def kept_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block may set variables."""
    monkeypatch.setenv("STRIPE_ENABLED", os.environ.get("STRIPE_ENABLED", "false"))


def told(caplog: pytest.LogCaptureFixture, message: str) -> dict[str, Any]:
    (record,) = [record for record in caplog.records if record.getMessage() == message]
    return record.__dict__


def captured(services: Services, kind: str) -> list[dict[str, Any]]:
    """The events of that exception at Sentry; none while it is off."""
    if not services.sink:
        return []
    return [event for event in services.sink.events() if event["exception"]["values"][-1]["type"] == kind]


def test_a_payment_is_made_once_and_then_cached(
    db: Session, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    process = run("do this instead", names(db))["process_payment_with_cache"]
    first, second = process(123, 1000), process(123, 1000)
    assert first["amount"] == 1000
    assert (first == second) is True  # from the cache, or because test data is deterministic
    made = [record for record in caplog.records if record.getMessage() == "Payment created"]
    assert len(made) == (1 if services.on else 2)
    assert made[0].__dict__["intent_id"] == first["id"]


def test_a_payment_that_fails_is_captured_logged_and_raised(
    db: Session, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    process = run("do this instead", names(db))["process_payment_with_cache"]
    with pytest.raises(PaymentError):
        process(123, -1)
    assert "positive" in told(caplog, "Payment failed")["error"]
    assert len(captured(services, "PaymentInvalid")) == services.on


def test_query_results_are_cached(db: Session, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    get_user = run("cache: query results", names(db))["get_user"]
    assert get_user(123).email == "jo@example.com"
    assert told(caplog, "Cache miss, cached result")["key"] == "user:123"
    again = get_user(123)
    if services.on:
        assert again == {"id": 123, "email": "jo@example.com", "username": "jo"}
        assert told(caplog, "Cache hit")["key"] == "user:123"
    else:
        assert again.id == 123
    assert get_user(1) is None


def test_computations_are_cached_until_the_data_changes(db: Session, services: Services) -> None:
    given = run("instruction: imports", names(db))
    calculate = run("cache: computations", given)["calculate_user_statistics"]
    first = {"total_orders": 3, "total_spent": 3500, "avg_order": pytest.approx(3500 / 3)}
    assert calculate(123) == first
    db.get_one(Order, 9).total = 800
    db.commit()
    fresh = {**first, "total_spent": 3800, "avg_order": pytest.approx(3800 / 3)}
    assert calculate(123) == (first if services.on else fresh)
    update = run("cache: invalidation", run("cache: query results", given))["update_user"]
    assert update(123, {"username": "joe"}).username == "joe"
    assert calculate(123) == fresh


def test_an_update_is_logged(db: Session, caplog: pytest.LogCaptureFixture) -> None:
    given = run("cache: query results", names(db))
    run("cache: invalidation", given)["update_user"](123, {"full_name": "Jo Roe"})
    assert db.get_one(User, 123).full_name == "Jo Roe"
    assert told(caplog, "User updated and cache invalidated")["user_id"] == 123


def test_a_module_has_its_logger(db: Session, caplog: pytest.LogCaptureFixture) -> None:
    given = run("logger: per module", names(db, __name__="seed.module"))
    given["my_function"]()
    assert told(caplog, "Function started")["name"] == "seed.module"
    assert told(caplog, "Function completed")["result_count"] == 3


def test_data_is_logged_as_fields(db: Session, caplog: pytest.LogCaptureFixture) -> None:
    run("logger: structured data", run("instruction: logger", run("instruction: imports", names(db, __name__="seed"))))
    line = told(caplog, "User login")
    assert {name: line[name] for name in ("user_id", "email", "ip_address", "user_agent")} == {
        "user_id": 123, "email": "jo@example.com", "ip_address": "192.0.2.7", "user_agent": "curl",
    }  # fmt: skip


def test_each_level_is_logged_with_its_fields(db: Session, caplog: pytest.LogCaptureFixture) -> None:
    run("logger: levels", run("logger: per module", names(db, __name__="seed")))
    assert [record.levelname for record in caplog.records if record.name == "seed"] == [
        "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL",
    ]  # fmt: skip
    assert told(caplog, "Rate limit approaching")["limit"] == 100
    assert told(caplog, "Database connection lost")["attempt"] == 2


def test_the_helpers_log_requests_queries_and_errors(db: Session, caplog: pytest.LogCaptureFixture) -> None:
    run("logger: helper functions", run("logger: per module", names(db, __name__="seed")))
    request, query, error = (record for record in caplog.records if record.name == "seed")
    assert (request.__dict__["status_code"], request.__dict__["duration_ms"]) == (200, 45.2)
    assert (query.__dict__["query"], query.__dict__["rows"]) == ("SELECT * FROM users WHERE id = ?", 1)
    assert (error.__dict__["user_id"], error.__dict__["amount"], error.__dict__["error"]) == (123, 1000, "no money")
    assert error.exc_info


def test_an_exception_is_captured_with_its_context(
    db: Session, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    risky = run("monitoring: exceptions", names(db, __name__="seed"))["risky_operation"]
    with pytest.raises(ExternalAPIError):
        risky(123)
    assert told(caplog, "External API failed")["error"] == "no answer"
    for event in captured(services, "ExternalAPIError"):
        assert event["contexts"]["context"] == {"user_id": 123, "api": "external_api", "operation": "risky_operation"}


def test_errors_after_a_login_name_the_user(db: Session, services: Services) -> None:
    given = run("monitoring: exceptions", names(db, __name__="seed"))
    user = given["user"]
    run("monitoring: user", given)["login"](user)
    with pytest.raises(ExternalAPIError):
        given["risky_operation"](123)
    for event in captured(services, "ExternalAPIError"):
        assert event["user"] == {"id": "123", "email": "jo@example.com", "username": "jo"}


def test_breadcrumbs_lead_to_the_payment(db: Session) -> None:
    given = run("monitoring: breadcrumbs", run("instruction: imports", names(db)))
    with collecting() as crumbs:
        given["process_checkout"](5)
    ours = [crumb for crumb in crumbs if crumb["category"] != "stripe"]
    assert [(crumb["message"], crumb["category"]) for crumb in ours] == [
        ("Checkout started", "commerce"), ("Cart loaded", "db"), ("Total calculated", "compute"),
        ("Payment created", "payment"),
    ]  # fmt: skip
    assert (ours[2]["data"], ours[1]["data"]) == ({"total": 2100}, {"items": 2})


def test_breadcrumbs_lead_to_the_error(db: Session, services: Services) -> None:
    given = run("monitoring: breadcrumbs", run("instruction: imports", names(db, calculate_total=lambda cart: 0)))
    with pytest.raises(PaymentError):
        given["process_checkout"](5)
    for event in captured(services, "PaymentInvalid"):
        assert [crumb.get("message") for crumb in event["breadcrumbs"]["values"]][-3:] == [
            "Checkout started", "Cart loaded", "Total calculated",
        ]  # fmt: skip


def test_traces_nest_around_the_work(db: Session, services: Services) -> None:
    given = run("monitoring: tracing", run("instruction: imports", names(db)))
    assert given["get_dashboard_data"](123) == {
        "stats": {"orders": 2}, "orders": [8, 7], "recommendations": ["tea"],
    }  # fmt: skip
    if services.sink:
        (trace,) = services.sink.transactions()
        assert trace["transaction"] == "dashboard_data_load"
        assert [span["description"] for span in trace["spans"]] == ["recent_orders_query", "recommendations_compute"]


def test_an_order_is_paid(db: Session, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    given = run("payment: intent", names(db, __name__="seed"))
    intent = given["create_order_payment"](8, 900)
    assert (intent["amount"], intent["currency"]) == (900, "usd")
    assert intent["metadata"] == {"order_id": "8", "user_id": "123"}
    assert intent["client_secret"]
    assert intent["test_mode"] is not services.on
    assert told(caplog, "Payment intent created")["intent_id"] == intent["id"]
    with pytest.raises(PaymentError):
        given["create_order_payment"](8, 9.5)
    assert told(caplog, "Payment creation failed")


def test_a_customer_is_created_first(db: Session) -> None:
    setup = run("payment: customer", run("instruction: imports", names(db)))["setup_customer_payment"]
    user = db.get_one(User, 123)
    intent = setup(user)
    assert user.stripe_customer_id
    assert (intent["customer"], intent["amount"]) == (user.stripe_customer_id, 1000)


def test_an_order_is_refunded(db: Session, caplog: pytest.LogCaptureFixture) -> None:
    given = run("payment: refund", run("payment: intent", names(db, __name__="seed")))
    refund = given["refund_order"](7, reason="requested_by_customer")
    order = db.get_one(Order, 7)
    assert (order.status, order.refund_id) == ("refunded", refund["id"])
    assert (refund["amount"], refund["reason"]) == (2100, "requested_by_customer")
    assert told(caplog, "Order refunded")["refund_id"] == refund["id"]
    with pytest.raises(ValueError, match="Order has no payment intent"):
        given["refund_order"](9)


def test_a_refund_needs_no_reason(db: Session) -> None:
    assert run("payment: refund", run("payment: intent", names(db)))["refund_order"](7)["reason"] is None


def test_a_webhook_marks_the_order_paid_and_a_forged_one_does_not(db: Session) -> None:
    app = FastAPI()
    run("payment: webhook", run("payment: intent", names(db, app=app)))
    body = json.dumps({
        "type": "payment_intent.succeeded", "data": {"object": {"metadata": {"order_id": "8"}}},
    })  # fmt: skip
    secret = settings.dev_secret("STRIPE_WEBHOOK_SECRET")
    signature = stripe.WebhookSignature.generate_signature_header(body, secret, int(time.time()))
    with TestClient(app) as client:
        for headers in ({}, {"stripe-signature": signature[:-1]}, {"stripe-signature": "nonsense"}):
            forged = client.post("/webhooks/stripe", content=body, headers=headers)
            assert (forged.status_code, forged.json()) == (400, {"detail": "Invalid webhook signature"})
        assert db.get_one(Order, 8).status == "pending"
        answer = client.post("/webhooks/stripe", content=body, headers={"stripe-signature": signature})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert db.get_one(Order, 8).status == "paid"


@pytest.fixture
def checkout(db: Session, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The complete example, served."""
    models = ModuleType("app.models")
    models.__dict__.update(Order=Order, User=User)
    monkeypatch.setitem(sys.modules, "app", ModuleType("app"))
    monkeypatch.setitem(sys.modules, "app.models", models)
    given = run("complete example", names(db, __name__="seed", get_current_user=lambda: db.get(User, 123)))
    app = FastAPI()
    router: APIRouter = given["router"]
    app.include_router(router)
    return TestClient(app)


def test_the_complete_example_checks_out(
    checkout: TestClient, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        answer = checkout.post("/orders/8/checkout")
        assert answer.status_code == 200
        assert answer.json()["order_id"] == 8
        assert answer.json()["total"] == 21.0
        assert answer.json()["client_secret"]
    done = [record for record in caplog.records if record.getMessage() == "Checkout completed"]
    assert payment.retrieve_payment_intent(done[0].__dict__["intent_id"])["amount"] == 2100
    cached = [record for record in caplog.records if record.getMessage() == "Order total from cache"]
    assert len(cached) == services.on
    if services.sink:
        assert services.sink.transactions()[0]["transaction"] == "calculate_order_total"


def test_the_complete_example_answers_a_failed_payment_with_500(
    checkout: TestClient, db: Session, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    order = db.get_one(Order, 8)
    order.items[0].quantity = 0
    db.commit()
    answer = checkout.post("/orders/8/checkout")
    assert (answer.status_code, answer.json()) == (500, {"detail": "Payment processing failed"})
    assert told(caplog, "Payment failed")
    for event in captured(services, "PaymentInvalid"):
        assert event["contexts"]["context"] == {"order_id": 8, "user_id": 123}
        assert event["user"]["id"] == "123"


def test_the_complete_example_answers_anything_else_with_500(
    checkout: TestClient, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    answer = checkout.post("/orders/99/checkout")
    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})
    assert told(caplog, "Checkout failed")["error"] == str(HTTPException(404, "Order not found"))


def test_the_instructions_run(db: Session, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    given = names(db, __name__="seed")
    for name in ("imports", "logger", "structured data", "exceptions"):
        run(f"instruction: {name}", given)
    assert told(caplog, "Event")["key"] == "value"
    assert [event["contexts"]["context"] for event in captured(services, "ValueError")] == [
        {"user_id": 123}
    ] * services.on


def test_the_unit_test_pattern_works(db: Session) -> None:
    given = run("testing: unit", run("cache: query results", names(db)))
    given["test_get_user_with_cache"]()
    assert cache.get("user:123") is None  # the patch is gone


def test_the_integration_test_pattern_works(db: Session) -> None:
    run("testing: integration", run("instruction: imports", names(db)))["test_payment_creation"]()


@pytest.mark.parametrize("app_env", ["dev", "staging", "prod"])
def test_the_files_of_the_contract_are_accepted(app_env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dotenv_values(stream=StringIO(block(f"env: {app_env}")))
    elided = {name: value for name, value in given.items() if value and "..." in value}
    secrets = {"SECRET_KEY": "k" * 32, "STRIPE_WEBHOOK_SECRET": "whsec_x"}  # what the contract leaves to others
    filled = {"SENTRY_DSN": "https://key@sentry.example/1", "STRIPE_SECRET_KEY": elided.get("STRIPE_SECRET_KEY", "")}
    for name, value in {**given, **secrets, "APP_ENV": app_env, **{key: filled[key] for key in elided}}.items():
        monkeypatch.setenv(name, (value or "").replace("...", "x"))
    found = settings.load()
    assert {found.redis_enabled, found.sentry_enabled, found.stripe_enabled} == {app_env != "dev"}
    assert (found.log_level, found.log_format) == {
        "dev": ("DEBUG", "text"), "staging": ("INFO", "json"), "prod": ("WARNING", "json"),
    }[app_env]  # fmt: skip
    if app_env == "prod":
        assert (found.sentry_environment, found.sentry_traces_sample_rate) == ("production", 0.1)
        assert payment.livemode() is True


def test_every_block_is_run() -> None:
    sections = {line.removeprefix("## ") for line in BLOCKS.read_text().splitlines() if line.startswith("## ")}
    source = "".join(path.read_text() for path in BLOCKS.parent.glob("*.py"))
    prefixed = {f"instruction: {name}" for name in ("imports", "logger", "structured data", "exceptions")}
    prefixed |= {f"env: {name}" for name in ("dev", "staging", "prod")}
    assert {name for name in sections - prefixed if f'run("{name}"' not in source} == set()
