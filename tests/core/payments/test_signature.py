"""Our check of Stripe's signature, held against the SDK's."""

from __future__ import annotations

import time

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from core import payment
from core.payments.signature import TOLERANCE_SECONDS, signed_by
from core.settings import dev_secret

SECRET = "whsec_0123456789"
OTHER = "whsec_abcdefghij"
BODY = '{"id": "evt_1", "name": "Jürgen ☂"}'
NOW = 1_800_000_000


def header(body: str = BODY, secret: str = SECRET, at: int = NOW) -> str:
    return stripe.WebhookSignature.generate_signature_header(body, secret, at)  # type: ignore[no-any-return]  # the SDK's


def theirs(body: bytes, given: str | None, secret: str) -> bool:
    """The SDK's answer; whatever it raises is a refusal, as for its users."""
    try:
        return stripe.WebhookSignature.verify_header(body, given, secret)  # type: ignore[no-any-return]  # the SDK's
    except Exception:  # noqa: BLE001 - SignatureVerificationError, TypeError, UnicodeDecodeError ...
        return False


SIGNATURE = header().partition("v1=")[2]
HEADERS = {
    "as Stripe sends it": header(),
    "with the test scheme beside it": header() + ",v0=" + "0" * 64,
    "an old key's signature first": f"t={NOW},v1={'0' * 64},v1={SIGNATURE}",
    "an old key's signature last": f"t={NOW},v1={SIGNATURE},v1={'0' * 64}",
    "the signature before the time": f"v1={SIGNATURE},t={NOW}",
    "missing": None,
    "empty": "",
    "without a time": f"v1={SIGNATURE}",
    "without a signature": f"t={NOW}",
    "an empty signature": f"t={NOW},v1=",
    "another scheme only": f"t={NOW},v0={SIGNATURE}",
    "another time": f"t={NOW + 1},v1={SIGNATURE}",
    "a time in words": f"t=now,v1={SIGNATURE}",
    "a time with a fraction": f"t={NOW}.5,v1={SIGNATURE}",
    "no time": f"t=,v1={SIGNATURE}",
    "cut short": header()[:-1],
    "in capitals": f"t={NOW},v1={SIGNATURE.upper()}",
    "not ASCII": f"t={NOW},v1=é{SIGNATURE[1:]}",
    "digits that are not ASCII": f"t=١{NOW},v1={SIGNATURE}",
    "nonsense": "nonsense",
    "only commas": ",,,",
    "with a blank": f"t={NOW}, v1={SIGNATURE}",
    "with a blank at the end": header() + " ",
    "another secret's": header(secret=OTHER),
    "another body's": header("{}"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_we_agree_with_the_sdk(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    ours = signed_by(BODY.encode(), HEADERS[case], [SECRET])
    assert ours is theirs(BODY.encode(), HEADERS[case], SECRET)
    assert ours is (list(HEADERS).index(case) < 5)


@given(st.binary(max_size=200), st.text(max_size=100), st.booleans())
def test_we_never_accept_what_the_sdk_refuses_and_never_raise(body: bytes, noise: str, sign: bool) -> None:
    text = body.decode("utf-8", "replace")
    given_header = header(text, at=int(time.time())) + noise if sign else noise
    if signed_by(text.encode(), given_header, [SECRET]):
        assert theirs(text.encode(), given_header, SECRET)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"", b"[]", b"\x00"])
def test_any_bytes_can_be_verified(body: bytes) -> None:
    import hashlib
    import hmac

    digest = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    assert signed_by(body, f"t={NOW},v1={digest}", [SECRET], NOW)
    assert not signed_by(body + b" ", f"t={NOW},v1={digest}", [SECRET], NOW)


@pytest.mark.parametrize(("offset", "accepted"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_the_time_may_be_five_minutes_off_in_either_direction(offset: int, accepted: bool) -> None:
    assert TOLERANCE_SECONDS == 300
    assert signed_by(BODY.encode(), header(at=NOW + offset), [SECRET], now=NOW) is accepted


def test_several_secrets_are_tried_and_none_accepts_nothing() -> None:
    for secrets, accepted in (([OTHER, SECRET], True), ([SECRET, OTHER], True), ([OTHER], False), ([], False)):
        assert signed_by(BODY.encode(), header(), secrets, NOW) is accepted


# The facade.


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_the_check_is_the_same_whether_stripe_is_on_or_off(enabled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_ENABLED", enabled)
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_x")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", f"{OTHER},{SECRET}")
    now = int(time.time())
    for secret, accepted in ((SECRET, True), (OTHER, True), ("whsec_wrong", False)):
        signature = header(secret=secret, at=now)
        assert payment.verify_webhook_signature(BODY.encode(), signature) is accepted
        assert payment.verify_webhook_signature(BODY, signature) is accepted
    assert payment.verify_webhook_signature(BODY, None) is False
    assert payment.verify_webhook_signature("\udcff", header(at=now)) is False


def test_dev_makes_a_secret_when_none_is_set() -> None:
    signature = header(secret=dev_secret("STRIPE_WEBHOOK_SECRET"), at=int(time.time()))
    assert payment.verify_webhook_signature(BODY, signature) is True


def test_outside_dev_no_secret_means_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    monkeypatch.setenv("SECRET_KEY", "k" * 32)
    for secret in ("", "None"):
        assert payment.verify_webhook_signature(BODY, header(secret=secret, at=int(time.time()))) is False


def test_wrong_settings_mean_closed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("PORT", "x")
    assert payment.verify_webhook_signature(BODY, header(at=int(time.time()))) is False
    assert caplog.messages == ["no webhook can be verified"]
