"""Stripe off: the same call gives the same test data, everywhere, without a network."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

from core import payment
from core.settings import ROOT

CALLS = (
    "payment.create_payment_intent(1000, 'usd', {'order_id': '1'})",
    "payment.create_payment_intent(99_999_999, 'jpy', idempotency_key='k')",
    "payment.create_customer('jo@example.com', idempotency_key='k')",
    "payment.create_refund('pi_test_1000usd_0123456789abcdef', 5, idempotency_key='k')",
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)


def test_another_process_gives_the_same_data() -> None:
    program = f"from core import payment; print([{', '.join(CALLS)}])"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip() == str([eval(call) for call in CALLS])  # noqa: S307 - our own four lines


def test_every_answer_says_that_it_is_test_data() -> None:
    answers = [eval(call) for call in CALLS]  # noqa: S307 - our own four lines
    answers += [
        payment.retrieve_payment_intent("pi_1"), payment.cancel_payment_intent("pi_1"), payment.retrieve_refund("re_1"),
        payment.retrieve_charge("ch_test_700eur_0123456789abcdef"),
        payment.retrieve_dispute("du_test_700eur_0123456789abcdef"),
    ]  # fmt: skip
    assert {answer["test_mode"] for answer in answers} == {True}
    assert {answer["livemode"] for answer in answers} == {False}
    assert [(answer["amount"], answer["currency"]) for answer in answers[-2:]] == [(700, "eur")] * 2


def test_other_arguments_give_another_object_and_a_key_decides_alone() -> None:
    made = [
        payment.create_payment_intent(amount, metadata=marks)["id"] for amount in (1, 2) for marks in (None, {"a": "b"})
    ]
    assert len(set(made)) == 4
    keyed = [
        payment.create_payment_intent(1, metadata=marks, idempotency_key="k")["id"] for marks in (None, {"a": "b"})
    ]
    assert len(set(keyed)) == 1


@pytest.mark.parametrize("amount", [1, 1000, 99_999_999])
def test_an_id_fits_its_column_and_remembers_the_money(amount: int) -> None:
    intent = payment.create_payment_intent(amount, "eur")
    refund = payment.create_refund(intent["id"], amount)
    assert max(len(intent["id"]), len(refund["id"])) <= 64
    assert payment.retrieve_refund(refund["id"]) == refund
    assert payment.create_refund(intent["id"])["amount"] == amount


def test_a_refund_of_an_intent_that_is_not_ours_is_test_data_too() -> None:
    refund = payment.create_refund("pi_3Oq", 5, reason="duplicate")
    assert (refund["amount"], refund["payment_intent"], refund["test_mode"]) == (5, "pi_3Oq", True)
