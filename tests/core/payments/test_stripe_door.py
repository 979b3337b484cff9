"""What leaves for Stripe, over which connections, and what comes back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe
from urllib3 import HTTPSConnectionPool, ProxyManager, Retry

from core import payment
from core.monitoring import collecting
from core.payments import API_VERSION, PaymentBusy, stripe_door, stripe_http
from core.settings import ROOT
from simulator import Simulator
from tests.core.payments import customer
from tests.core.payments.conftest import KEY, point_at
from tests.core.payments.stub import Stub, answer

REQUESTS: dict[str, tuple[Any, str, str]] = {
    "an intent": (
        lambda: payment.create_payment_intent(1000, "EUR", {"order_id": "o 1"}, "cus_1", "k:1"),
        "POST /v1/payment_intents",
        "amount=1000&currency=eur&metadata[order_id]=o+1&customer=cus_1",
    ),
    "a bare intent": (
        lambda: payment.create_payment_intent(1000, idempotency_key="k:1"),
        "POST /v1/payment_intents",
        "amount=1000&currency=usd",
    ),
    "a customer": (
        lambda: payment.create_customer("a@b.co", "A", {"user_id": "1"}, "k:1"),
        "POST /v1/customers",
        "email=a%40b.co&name=A&metadata[user_id]=1",
    ),
    "a refund": (
        lambda: payment.create_refund("pi_1", 5, "duplicate", {"refund_id": "1"}, "k:1"),
        "POST /v1/refunds",
        "payment_intent=pi_1&amount=5&reason=duplicate&metadata[refund_id]=1",
    ),
    "a cancellation": (
        lambda: payment.cancel_payment_intent("pi_1", "k:1"),
        "POST /v1/payment_intents/pi_1/cancel",
        "",
    ),
    "an intent read": (lambda: payment.retrieve_payment_intent("pi_1"), "GET /v1/payment_intents/pi_1", ""),
    "a refund read": (lambda: payment.retrieve_refund("re_1"), "GET /v1/refunds/re_1", ""),
    "a charge read": (lambda: payment.retrieve_charge("ch_1"), "GET /v1/charges/ch_1", ""),
    "a dispute read": (lambda: payment.retrieve_dispute("du/1?x"), "GET /v1/disputes/du%2F1%3Fx", ""),
    "a span of a customer's intents": (
        lambda: payment.list_payment_intents("cus_1", 5, 9),
        "GET /v1/payment_intents?customer=cus_1&created%5Bgte%5D=5&created%5Blte%5D=9&limit=100",
        "",
    ),
    "disputes": (lambda: payment.list_disputes(5), "GET /v1/disputes?created%5Bgte%5D=5&limit=100", ""),
    "a page of refunds": (
        lambda: payment.list_page("refunds", "re_1", 1700, 50),
        "GET /v1/refunds?starting_after=re_1&created%5Bgte%5D=1700&limit=50",
        "",
    ),
    "the journal": (
        lambda: payment.list_page("balance_transactions"),
        "GET /v1/balance_transactions?limit=100&expand%5B0%5D=data.source",
        "",
    ),
    "events": (
        lambda: payment.list_events("evt_1", 1700, 50),
        "GET /v1/events?starting_after=evt_1&created%5Bgte%5D=1700&limit=50",
        "",
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_each_call_is_one_request_of_our_version_with_its_key(case: str, stub: Stub) -> None:
    call, line, body = REQUESTS[case]
    stub.reply = answer(body={"id": "x", "data": [], "has_more": False})
    call()
    (asked,) = stub.asked
    assert f"{asked.method} {asked.path}" == line
    assert asked.body == body
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["stripe-version"] == payment.api_version == API_VERSION
    assert asked.headers.get("idempotency-key") == ("k:1" if asked.method == "POST" else None)


def test_the_version_is_pinned_by_us_and_not_by_the_sdk(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_door, "API_VERSION", "2020-08-27")
    payment.retrieve_refund("re_1")
    assert stub.asked[0].headers["stripe-version"] == "2020-08-27"


def test_lists_walk_all_pages(stub: Stub) -> None:
    def page(link: Any) -> None:
        after = int(stub.asked[-1].path.partition("starting_after=re_")[2] or 0)
        items = [{"id": f"re_{after + n}"} for n in (1, 2)]
        answer(body={"object": "list", "data": items, "has_more": after < 4})(link)

    stub.reply = page
    found = payment.list_refunds("pi_1", created_gte=5)
    assert [refund["id"] for refund in found] == [f"re_{n}" for n in range(1, 7)]
    assert {refund["test_mode"] for refund in found} == {False}
    assert stub.asked[0].path == "/v1/refunds?payment_intent=pi_1&created%5Bgte%5D=5&limit=100"


def test_somebody_is_called_before_each_page_but_the_first_and_may_end_the_listing(stub: Stub) -> None:
    asked_before: list[int] = []

    def before_next() -> None:
        asked_before.append(len(stub.asked))
        if len(stub.asked) == 3:
            raise TimeoutError

    stub.reply = answer(body={"data": [{"id": "pi_1"}], "has_more": True})
    with pytest.raises(TimeoutError):
        payment.list_payment_intents("cus_1", before_next=before_next)
    assert asked_before == [1, 2, 3]


def test_a_list_without_an_end_is_given_up(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_door, "MOST_PAGES", 3)
    stub.reply = answer(body={"data": [{"id": "re_1"}], "has_more": True})
    with pytest.raises(PaymentBusy, match="more than 300 objects"):
        payment.list_refunds("pi_1")
    assert len(stub.asked) == 3


def test_answers_are_stripes_own_plus_the_mark_that_it_was_asked(stub: Stub) -> None:
    body = {"id": "pi_1", "nested": {"list": [1, None, "é"]}, "livemode": False}
    stub.reply = answer(body=body)
    assert payment.retrieve_payment_intent("pi_1") == body | {"test_mode": False}


def test_each_answer_leaves_its_request_id_on_the_timeline(stub: Stub) -> None:
    with collecting() as crumbs:
        payment.retrieve_refund("re_1")
    (crumb,) = crumbs
    assert (crumb["message"], crumb["category"]) == ("Stripe answered", "stripe")
    assert crumb["data"] == {"call": "GET /v1/refunds/re_1", "status": 200, "stripe_request_id": "req_1"}


def test_nothing_is_told_about_us_and_a_notice_is_no_warning(stub: Stub) -> None:
    stub.reply = answer(Stripe_Notice="Try our new thing!")
    for _ in range(2):
        payment.retrieve_refund("re_1")
    assert stripe.enable_telemetry is False
    assert not [name for asked in stub.asked for name in asked.headers if "telemetry" in name]


def test_timeouts_and_connections_are_bounded() -> None:
    opened = stripe_http.Pool("https://api.stripe.com")._open
    assert isinstance(opened, HTTPSConnectionPool)
    assert (opened.timeout.connect_timeout, opened.timeout.read_timeout) == (5.0, 20.0)
    assert opened.pool is not None
    assert opened.pool.maxsize >= 200
    assert isinstance(opened.retries, Retry)
    assert opened.retries.total is False


def test_one_connection_serves_call_after_call(stub: Stub) -> None:
    for _ in range(5):
        payment.retrieve_refund("re_1")
    assert {asked.connection for asked in stub.asked} == {1}


@pytest.mark.parametrize("bytes_left", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_a_connection_that_stripe_closed_meanwhile_is_not_used_again(stub: Stub, bytes_left: bytes) -> None:
    payment.retrieve_refund("re_1")
    [link] = stub._links
    link.sendall(bytes_left)
    link.shutdown(socket.SHUT_WR)
    payment.retrieve_refund("re_1")
    assert [asked.connection for asked in stub.asked] == [1, 2]


def test_a_connection_with_unread_bytes_is_not_used_again(stub: Stub) -> None:
    payment.retrieve_refund("re_1")
    [link] = stub._links
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    payment.retrieve_refund("re_1")
    assert [asked.connection for asked in stub.asked] == [1, 2]


def test_many_threads_share_the_pool_and_each_gets_its_own_answer(simulator: Simulator) -> None:
    made = [payment.create_payment_intent(1000 + n)["id"] for n in range(20)]

    def read(n: int) -> bool:
        seen = payment.retrieve_payment_intent(made[n % 20])
        return bool(seen["amount"] == 1000 + n % 20)

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(read, range(400)))


def test_greenlets_share_the_pool(simulator: Simulator) -> None:
    program = textwrap.dedent("""
        from gevent import monkey
        monkey.patch_all()
        import gevent.pool
        from core import payment

        def one(n):
            made = payment.create_payment_intent(1000 + n, idempotency_key=f"g{n}")
            return payment.retrieve_payment_intent(made["id"])["amount"] == 1000 + n

        assert all(gevent.pool.Pool(50).map(one, range(200)))
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_uses_connections_of_its_own(stub: Stub) -> None:
    program = textwrap.dedent("""
        import os
        from core import payment
        payment.retrieve_refund("parent")
        pid = os.fork()
        payment.retrieve_refund("child" if pid == 0 else "parent")
        if pid == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=os.environ, check=True)
    links = {asked.path: {seen.connection for seen in stub.asked if seen.path == asked.path} for asked in stub.asked}
    assert links == {"/v1/refunds/parent": {1}, "/v1/refunds/child": {2}}


def test_another_key_or_address_takes_effect_at_the_next_call(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    payment.retrieve_refund("re_1")
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_other")
    payment.retrieve_refund("re_1")
    assert [asked.headers["authorization"] for asked in stub.asked] == [f"Bearer {KEY}", "Bearer sk_test_other"]
    with Stub(answer(body={"id": "elsewhere"})) as other:
        monkeypatch.setenv("STRIPE_API_BASE", other.url)
        assert payment.retrieve_refund("re_1")["id"] == "elsewhere"
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    assert payment.retrieve_refund("re_1")["test_mode"] is True


@pytest.mark.parametrize(("key", "live"), [("sk_live_x", True), ("rk_live_x", True), ("sk_test_live_x", False)])
def test_the_keys_prefix_says_whether_money_moves(key: str, live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:1", monkeypatch)
    monkeypatch.setenv("STRIPE_SECRET_KEY", key)
    assert payment.livemode() is live
    monkeypatch.setenv("STRIPE_ENABLED", "false")
    assert payment.livemode() is live


@pytest.mark.parametrize(
    ("base", "used"),
    [
        ("https://api.stripe.com", "http://proxy.example:3128"),
        ("http://127.0.0.1:1", None),
        ("http://localhost:1", None),
    ],
)
def test_the_proxy_of_the_environment_is_used_for_what_is_not_on_this_machine(
    base: str, used: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    opened = stripe_http.Pool(base)._open
    proxy = opened.proxy if isinstance(opened, ProxyManager) else None
    assert (proxy and proxy.url) == used


def test_what_customers_and_banks_do_is_seen(simulator: Simulator) -> None:
    made = payment.create_payment_intent(1000, metadata={"order_id": "1"})
    customer.pay(simulator, made["id"])
    seen = payment.retrieve_payment_intent(made["id"])
    assert (seen["status"], seen["amount_received"]) == ("succeeded", 1000)
    charge = payment.retrieve_charge(seen["latest_charge"])
    assert (charge["payment_intent"], charge["amount"], charge["paid"]) == (made["id"], 1000, True)
    types = [event["type"] for event in payment.list_events()["data"]]
    assert "payment_intent.succeeded" in types
    page = payment.list_events(limit=1)
    assert page["has_more"] is True
    assert payment.list_events(starting_after=page["data"][0]["id"])["data"][0]["type"] == types[1]


def test_a_list_shows_what_was_made_in_its_span(simulator: Simulator) -> None:
    made = payment.create_payment_intent(1000)
    at = made["created"]
    assert [seen["id"] for seen in payment.list_payment_intents(created_gte=at, created_lte=at)] == [made["id"]]
    assert payment.list_payment_intents(created_gte=at - 9, created_lte=at - 1) == []
