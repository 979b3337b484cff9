"""What leaves the process: no secret and no card number, and people only in dev."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.redaction import LONGEST_TEXT, hides_personal_data, redact, redact_text

SECRET_TEXTS = [
    ("key sk_test_4eC39HqLyjW", "key [redacted]"),
    ("key rk_live_4eC39HqLyjW!", "key [redacted]!"),
    ("whsec_a+b/c=", "[redacted]"),
    ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
    ("Authorization: Token abc", "Authorization: [redacted]"),
    ("sent bearer abcdefgh", "sent bearer [redacted]"),
    ("sent Basic dXNlcjpwdw==", "sent Basic [redacted]"),
    ("pi_3Oq_secret_Ab12Cd34", "pi_3Oq_secret_[redacted]"),
    ("{'client_secret': 'x y', 'id': 'pi_1'}", "{'client_secret': [redacted], 'id': 'pi_1'}"),
    ('{"password":"x"}', '{"password":[redacted]}'),
    ("?api_key=abc&page=2", "?api_key=[redacted]&page=2"),
    ("t=1,v1=" + "ab" * 32, "t=1,v1=[redacted]"),
    ("postgresql+psycopg://u:p%40w@h/d", "postgresql+psycopg://u:[redacted]@h/d"),
    ("redis://:pw@h:6379/0", "redis://:[redacted]@h:6379/0"),
    ("eyJhbGciOiJIUzI1.eyJzdWIiOiIx.c2ln", "[redacted]"),
    ("card 4242424242424242.", "card [redacted]."),
    ("card 4242 4242 4242 4242 exp 12/34", "card [redacted] exp 12/34"),
    ("3782-822463-10005, 5555 5555 5555 4444", "[redacted], [redacted]"),
    ("order 22 4242424242424242 3", "order 22 [redacted] 3"),
    ("6011 1111 1111 1117 4000 0566 5566 5556", "[redacted] [redacted]"),
]
HARMLESS_TEXTS = [
    "order 018f7123-8123-7123-8123-424242424242 paid",
    "lease 42424242-4242-4242-8242-abcdefabcdef",
    "pi_3Oq4242424242424242 is paid",
    "idempotency_key=order:7 key=user:1",
    "1700000000000 4242424242424241 2026-11-24 14:30:15",
    "at 1795000000004 ms",  # the check digit fits, but no network's numbers start with 1
    "has_token=True, secret: None",
    "https://example.com:8000/orders?page=2",
    "took 4.242424242424242 s",
]
SECRET_NAMES = [
    "authorization", "Authorization", "api_key", "apiKey", "X-API-Key", "secret", "client_secret", "clientSecret",
    "password", "db_passwd", "token", "access_token", "signature", "Stripe-Signature", "cookie", "private_key",
    "card_number", "cvc", "SECRET_KEY",
]  # fmt: skip
HARMLESS_NAMES = ["key", "idempotency_key", "order_id", "intent_id", "amount", "author", "queue_name", "discard_at"]
PERSONAL_NAMES = ["email", "user_email", "name", "name_", "full_name", "username", "ip", "ip_address", "client_ip",
                  "remote_addr", "phone", "user_agent", "shipping_address"]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SECRET_TEXTS)
def test_a_secret_in_a_text_is_replaced(text: str, shown: str) -> None:
    assert redact_text(text) == shown
    assert redact({"note": [text]}) == {"note": [shown]}


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_what_only_looks_like_a_secret_is_kept(text: str) -> None:
    assert redact_text(text, personal=True) == text


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_field_with_the_name_of_a_secret_is_replaced_whatever_it_holds(name: str) -> None:
    assert redact({name: "x", "n": [{name: 5}]}) == {name: "[redacted]", "n": [{name: "[redacted]"}]}


def test_whether_there_is_a_secret_is_no_secret() -> None:
    assert redact({"has_token": True, "secret": None}) == {"has_token": True, "secret": None}


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_other_fields_are_kept(name: str) -> None:
    assert redact({name: "x"}, personal=True) == {name: "x"}


@pytest.mark.parametrize("name", PERSONAL_NAMES)
def test_personal_data_is_masked_only_on_demand(name: str) -> None:
    assert redact({name: "x"}) == {name: "x"}
    assert redact({name: "x"}, personal=True) == {name: "[masked]"}


def test_an_email_address_in_a_text_is_masked_only_on_demand() -> None:
    assert redact_text("mail jo@example.com now") == "mail jo@example.com now"
    assert redact_text("mail jo.b+x@mail.example.com now", personal=True) == "mail [masked] now"


@pytest.mark.parametrize(("app_env", "hidden"), [("", False), ("dev", False), ("staging", True), ("prod", True)])
def test_personal_data_is_shown_in_dev_only(app_env: str, hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", app_env)
    assert hides_personal_data() is hidden


def test_a_card_number_is_found_in_a_number_and_in_a_key() -> None:
    assert redact({"n": 4242424242424242, "4242424242424242": 1}) == {"n": "[redacted]", "[redacted]": 1}
    assert redact([99_999_999, 1_700_000_000_000, -4242424242424242]) == [
        99_999_999,
        1_700_000_000_000,
        -4242424242424242,
    ]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Unreadable(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


def test_anything_becomes_json_without_an_exception() -> None:
    circle: list[Any] = []
    circle.append(circle)
    shown = redact(
        {
            "c": circle,
            "u": Unprintable(),
            "r": Unreadable(),
            "b": b"sk_test_abc",
            "f": float("nan"),
            7: {1.5},
            "t": (1,),
        }
    )
    assert json.loads(json.dumps(shown, allow_nan=False))
    assert shown["u"] == "<unprintable Unprintable: RuntimeError>"
    assert shown["r"] == "<unreadable Unreadable: RuntimeError>"
    assert (shown["b"], shown["f"], shown["7"], shown["t"]) == ("b'[redacted]'", "nan", [1.5], [1])


def test_a_long_text_is_cut() -> None:
    assert len(redact_text("x" * 10**6)) == LONGEST_TEXT + 3


@pytest.mark.parametrize(
    "part", ["x", "1 ", "a-", "token", " ", "token ", "://", "://a:", "eyJ-", "a@", "sk_", "token=", "'token':'", "4",
             "a.b@", "bearer ", "1-", "v1=", "_secret_"],
)  # fmt: skip
def test_no_text_makes_a_pattern_slow(part: str) -> None:
    def seconds(length: int) -> float:
        text = (part * length)[:length]
        started = time.process_time()
        redact_text(text, personal=True)
        return time.process_time() - started

    seconds(1000)
    quarter, whole = (min(seconds(n) for _ in range(5)) for n in (LONGEST_TEXT // 4, LONGEST_TEXT))
    assert whole < 10 * quarter + 0.01  # 4 when linear, 16 when quadratic


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_redacting_twice_changes_nothing_more(value: Any) -> None:
    once = redact(value, personal=True)
    assert redact(once, personal=True) == once
    json.dumps(once, allow_nan=False)
