"""Each way in which a call fails, through the SDK, named by what we do about it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from core import PaymentError, payment
from core.errors import Permanent, Retryable, Uncertain
from core.payments import (
    PaymentBusy,
    PaymentDeclined,
    PaymentInvalid,
    PaymentKeyReused,
    PaymentMisconfigured,
    PaymentRefused,
    PaymentThrottled,
    PaymentUnknown,
    stripe_door,
    stripe_http,
)
from simulator import Simulator
from tests.core.payments import customer
from tests.core.payments.conftest import KEY, point_at
from tests.core.payments.stub import Reply, Stub, answer, garbage, half, hang_up, refusal, reset, silence

WRITES: dict[str, Callable[[], Any]] = {
    "create_payment_intent": lambda: payment.create_payment_intent(1000, idempotency_key="k"),
    "create_customer": lambda: payment.create_customer("jo@example.com", idempotency_key="k"),
    "create_refund": lambda: payment.create_refund("pi_1", idempotency_key="k"),
    "cancel_payment_intent": lambda: payment.cancel_payment_intent("pi_1"),
}
READS: dict[str, Callable[[], Any]] = {
    "retrieve_payment_intent": lambda: payment.retrieve_payment_intent("pi_1"),
    "retrieve_refund": lambda: payment.retrieve_refund("re_1"),
    "retrieve_charge": lambda: payment.retrieve_charge("ch_1"),
    "retrieve_dispute": lambda: payment.retrieve_dispute("du_1"),
    "list_payment_intents": lambda: payment.list_payment_intents("cus_1"),
    "list_refunds": lambda: payment.list_refunds("pi_1"),
    "list_disputes": payment.list_disputes,
    "list_events": payment.list_events,
}
EVERY = WRITES | READS
LOST: dict[str, Reply] = {
    "500": refusal(500, "api_error"),
    "502 from a proxy": answer(502, "<html>Bad gateway</html>"),
    "503": refusal(503, "api_error"),
    "a failed dependency": refusal(424, "api_error"),
    "404 from a proxy": answer(404, "<html>Not found</html>"),
    "200 that is no JSON": answer(200, "<html>Hello</html>"),
    "200 that is no object": answer(200, "[1]"),
    "a redirect": answer(302, "", Location="https://elsewhere.example/"),
    "reset": reset,
    "hung up": hang_up,
    "half an answer": half,
    "not HTTP": garbage,
}
FINAL: dict[str, tuple[Reply, type[PaymentError], dict[str, object]]] = {
    "400": (
        refusal(400, "invalid_request_error", "parameter_invalid", "Bad sk_test_abc."),
        PaymentRefused,
        {"status": 502, "code": "parameter_invalid", "detail": "Bad [redacted].", "request_id": "req_1"},
    ),
    "404": (
        refusal(404, "invalid_request_error", "resource_missing", "No such thing."),
        PaymentRefused,
        {"status": 502, "code": "resource_missing", "detail": "No such thing."},
    ),
    "402": (
        refusal(402, "card_error", "card_declined", "Your card was declined.", decline_code="insufficient_funds"),
        PaymentDeclined,
        {"status": 402, "code": "card_declined", "decline_code": "insufficient_funds",
         "detail": "Your card was declined."},
    ),
    "a reused key": (
        refusal(400, "idempotency_error", message="Keys for idempotent requests ..."),
        PaymentKeyReused,
        {"status": 500, "code": "idempotency_error", "request_id": "req_1"},
    ),
    "401": (
        refusal(401, "invalid_request_error"),
        PaymentMisconfigured,
        {"delay": 30.0, "spends_attempt": False, "request_id": "req_1", "everywhere": True},
    ),
    "403": (
        refusal(403, "invalid_request_error"),
        PaymentMisconfigured,
        {"delay": 30.0, "spends_attempt": False, "everywhere": False},
    ),
    "a key in use": (
        refusal(409, "idempotency_error", "idempotency_key_in_use"),
        PaymentBusy,
        {"delay": 1.0, "spends_attempt": True, "request_id": "req_1"},
    ),
    "a locked object": (refusal(409, "invalid_request_error", "lock_timeout"), PaymentBusy, {"delay": 1.0}),
    "429": (
        refusal(429, "invalid_request_error", "rate_limit", Retry_After="7"),
        PaymentThrottled,
        {"delay": 7.0, "spends_attempt": False, "request_id": "req_1"},
    ),
    "429 from a proxy": (answer(429, "slow down"), PaymentThrottled, {"delay": 1.0, "spends_attempt": False}),
    "429 with a date": (
        refusal(429, "invalid_request_error", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        PaymentThrottled,
        {"delay": 1.0},
    ),
    "429 for an hour": (refusal(429, "invalid_request_error", Retry_After="3600"), PaymentThrottled, {"delay": 60.0}),
    "the limiter of old": (
        refusal(400, "invalid_request_error", "rate_limit"),
        PaymentThrottled,
        {"spends_attempt": False},
    ),
}  # fmt: skip


def error_of(call: Callable[[], Any]) -> PaymentError:
    with pytest.raises(PaymentError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("case", FINAL)
@pytest.mark.parametrize("call", ["create_payment_intent", "retrieve_payment_intent"])
def test_what_stripe_answers_means_the_same_for_a_write_and_a_read(call: str, case: str, stub: Stub) -> None:
    stub.reply, kind, told = FINAL[case]
    error = error_of(EVERY[call])
    assert type(error) is kind
    assert {name: getattr(error, name) for name in told} == told
    assert len(stub.asked) == 1


@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("call", WRITES)
def test_a_write_without_a_readable_answer_may_have_happened(call: str, case: str, stub: Stub) -> None:
    stub.reply = LOST[case]
    error = error_of(WRITES[call])
    assert type(error) is PaymentUnknown
    assert error.replayed is False
    assert len(stub.asked) == 1  # the SDK tried once


@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("call", READS)
def test_a_read_can_be_repeated_whatever_became_of_it(call: str, case: str, stub: Stub) -> None:
    stub.reply = LOST[case]
    error = error_of(READS[call])
    assert type(error) is PaymentBusy
    assert (error.delay, error.spends_attempt) == (None, True)


@pytest.mark.parametrize(("call", "kind"), [("create_refund", PaymentUnknown), ("retrieve_refund", PaymentBusy)])
def test_a_timeout_is_a_lost_answer(
    call: str, kind: type[PaymentError], stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_http, "READ_SECONDS", 0.05)
    stub.reply = silence
    assert type(error_of(EVERY[call])) is kind


def test_a_replayed_500_is_unknown_and_says_that_the_key_will_answer_nothing_else(stub: Stub) -> None:
    stub.reply = refusal(500, "api_error", Idempotent_Replayed="true")
    error = error_of(WRITES["create_refund"])
    assert isinstance(error, PaymentUnknown)
    assert error.replayed is True
    assert error.request_id == "req_1"


@pytest.mark.parametrize("call", EVERY)
def test_a_refused_connection_sent_nothing(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_at(f"http://127.0.0.1:{free.getsockname()[1]}", monkeypatch)
        assert type(error_of(EVERY[call])) is PaymentBusy


@pytest.mark.parametrize("call", ["create_payment_intent", "retrieve_payment_intent"])
def test_a_name_that_does_not_resolve_sent_nothing(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://stripe.invalid", monkeypatch)
    assert type(error_of(EVERY[call])) is PaymentBusy


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(stub: Stub) -> None:
    def once(link: socket.socket) -> None:
        answer()(link)
        hang_up(link)

    stub.reply = once
    for _ in range(3):
        assert payment.retrieve_payment_intent("pi_1")["id"] == "pi_1"
        link = stub._links[-1]
        while link.fileno() != -1:  # until the server's side is closed for good
            pass


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        (Permanent, {PaymentInvalid, PaymentDeclined, PaymentRefused, PaymentKeyReused}),
        (Retryable, {PaymentBusy, PaymentMisconfigured}),
        (Uncertain, {PaymentUnknown}),
    ],
)
def test_every_kind_says_one_thing_to_do_about_it(action: type[Exception], kinds: set[type[PaymentError]]) -> None:
    assert {kind for kind in PaymentError.__subclasses__() if issubclass(kind, action)} == kinds


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_bug_of_ours_is_not_taken_for_a_payment_error(stub: Stub) -> None:
    with pytest.raises(ZeroDivisionError):
        payment.list_events(Unprintable())  # type: ignore[arg-type]  # the bug
    assert stub.asked == []


def test_a_stripe_that_is_switched_on_between_two_lines_spends_no_attempts() -> None:
    assert isinstance(error_of(stripe_door.door), PaymentMisconfigured)


def test_wrong_settings_spend_no_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    error = error_of(WRITES["create_payment_intent"])
    assert isinstance(error, PaymentMisconfigured)
    assert error.detail == "STRIPE_SECRET_KEY is not set; it should be the API key when STRIPE_ENABLED=true"
    assert error.spends_attempt is False


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_fingerprint(status: int, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.reply = refusal(status, "invalid_request_error")
    names = list[str]()
    for key in (KEY, "sk_test_other"):
        monkeypatch.setenv("STRIPE_SECRET_KEY", key)
        error = error_of(WRITES["create_payment_intent"])
        assert isinstance(error, PaymentMisconfigured)
        assert error.fingerprint == payment.fingerprint() == hashlib.sha256(key.encode()).hexdigest()[:8]
        names.append(error.fingerprint)
    assert len(set(names)) == 2


def test_what_has_no_key_is_named_so_and_what_is_off_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert payment.fingerprint() == "off"
    monkeypatch.setenv("STRIPE_ENABLED", "true")
    error = error_of(WRITES["create_payment_intent"])
    assert isinstance(error, PaymentMisconfigured)
    assert error.fingerprint == payment.fingerprint() == "none"


def test_no_error_shows_the_key(stub: Stub) -> None:
    for reply in [*LOST.values(), *(case[0] for case in FINAL.values())]:
        stub.reply = reply
        assert KEY not in repr(vars(error_of(WRITES["create_payment_intent"])))


# The same against the simulator, whose errors are worded as Stripe words them.


FAULTS: dict[str, tuple[dict[str, Any], type[PaymentError]]] = {
    "error_500": ({"when": "before"}, PaymentUnknown),
    "reset": ({"when": "after"}, PaymentUnknown),
    "reset_mid_body": ({}, PaymentUnknown),
    "in_use_409": ({}, PaymentBusy),
    "rate_limit_429": ({"retry_after": 3}, PaymentThrottled),
    "unauthorized_401": ({}, PaymentMisconfigured),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_simulators_faults_are_named_alike(kind: str, simulator: Simulator) -> None:
    rule, expected = FAULTS[kind]
    customer.plan(simulator, kind=kind, method="POST", next=1, **rule)
    assert type(error_of(WRITES["create_payment_intent"])) is expected
    made = payment.create_payment_intent(1000, idempotency_key="k")
    assert [intent["id"] for intent in payment.list_payment_intents()] == [made["id"]]


def test_an_error_after_the_effect_is_replayed_and_the_list_shows_what_happened(simulator: Simulator) -> None:
    customer.plan(simulator, kind="error_500", method="POST", when="after", next=1)
    first, again = (error_of(WRITES["create_payment_intent"]) for _ in range(2))
    assert isinstance(first, PaymentUnknown)
    assert isinstance(again, PaymentUnknown)
    assert (first.replayed, again.replayed) == (False, True)
    assert len(payment.list_payment_intents()) == 1


def test_a_refusal_names_the_parameter_that_it_is_about(simulator: Simulator) -> None:
    with pytest.raises(PaymentRefused) as caught:
        payment.create_payment_intent(1000, customer_id="cus_nobody")
    assert (caught.value.code, caught.value.param) == ("resource_missing", "customer")


def test_a_key_with_another_amount_is_our_bug(simulator: Simulator) -> None:
    payment.create_payment_intent(1000, idempotency_key="k")
    with pytest.raises(PaymentKeyReused):
        payment.create_payment_intent(1001, idempotency_key="k")


def test_refunding_too_much_is_refused(simulator: Simulator) -> None:
    made = payment.create_payment_intent(1000)
    customer.pay(simulator, made["id"])
    payment.create_refund(made["id"], 600)
    with pytest.raises(PaymentRefused):
        payment.create_refund(made["id"], 500)
