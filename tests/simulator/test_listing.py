"""simulator/listing.py, simulator/expansion.py and simulator/resources/read_only.py"""

from __future__ import annotations

import pytest
import stripe

from tests.simulator.conftest import Pay
from tests.simulator.wire import Wire, plain


def make(client: stripe.StripeClient, number: int) -> list[str]:
    """Ids of as many new PaymentIntents, newest first."""
    return [client.v1.payment_intents.create({"amount": 500, "currency": "usd"}).id for _ in range(number)][::-1]


def test_a_list_is_walked_by_cursor_in_both_directions(client: stripe.StripeClient) -> None:
    ids = make(client, 5)
    intents = client.v1.payment_intents
    first = intents.list({"limit": 2})
    assert ([found.id for found in first.data], first.has_more) == (ids[:2], True)
    last = intents.list({"limit": 3, "starting_after": ids[1]})
    assert ([found.id for found in last.data], last.has_more) == (ids[2:], False)
    back = intents.list({"limit": 2, "ending_before": ids[4]})
    assert ([found.id for found in back.data], back.has_more) == (ids[2:4], True)
    assert [found.id for found in intents.list({"limit": 2}).auto_paging_iter()] == ids


def test_ten_are_listed_when_nothing_is_said(client: stripe.StripeClient) -> None:
    make(client, 11)
    page = client.v1.payment_intents.list()
    assert (len(page.data), page.has_more) == (10, True)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=ten", "starting_after=pi_nobody", "created[after]=1"])
def test_a_wrong_page_is_refused(wire: Wire, query: str) -> None:
    assert wire("GET", f"/v1/payment_intents?{query}").status == 400


def test_two_cursors_are_refused(client: stripe.StripeClient, wire: Wire) -> None:
    [only] = make(client, 1)
    assert wire("GET", f"/v1/payment_intents?starting_after={only}&ending_before={only}").status == 400


def test_created_ranges_follow_the_simulators_clock(client: stripe.StripeClient, wire: Wire) -> None:
    [old] = make(client, 1)
    wire.sim("POST", "clock", hours=3)
    [new] = make(client, 1)
    then = client.v1.payment_intents.retrieve(new).created
    listed = client.v1.payment_intents.list
    assert [found.id for found in listed({"created": {"gte": then}}).data] == [new]
    assert [found.id for found in listed({"created": {"gt": then - 10_000, "lt": then}}).data] == []
    assert [found.id for found in listed({"created": {"lte": then - 10_000}}).data] == [old]
    assert [found.id for found in listed({"created": then}).data] == [new]


def test_charges_and_balance_transactions_are_listed_by_what_they_belong_to(
    client: stripe.StripeClient, pay: Pay
) -> None:
    paid, _ = pay(), pay(currency="eur")
    [charge] = client.v1.charges.list({"payment_intent": paid.id}).data
    refund = client.v1.refunds.create({"payment_intent": paid.id})
    [booked] = client.v1.balance_transactions.list({"source": charge.id}).data
    assert client.v1.balance_transactions.retrieve(booked.id).type == "charge"
    [refunded] = client.v1.balance_transactions.list({"type": "refund"}).data
    assert (refunded.source, refunded.amount) == (refund.id, -1000)
    assert len(client.v1.balance_transactions.list({"currency": "eur"}).data) == 1


def test_ids_are_expanded_on_demand(client: stripe.StripeClient, pay: Pay) -> None:
    paid = client.v1.payment_intents.retrieve(pay().id, {"expand": ["latest_charge.balance_transaction", "customer"]})
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert isinstance(paid.latest_charge.balance_transaction, stripe.BalanceTransaction)
    [listed] = client.v1.payment_intents.list({"expand": ["data.payment_method"]}).data
    assert isinstance(listed.payment_method, stripe.PaymentMethod)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.payment_intents.retrieve(paid.id, {"expand": ["amount"]})


def test_events_are_found_by_type_types_and_wildcard(client: stripe.StripeClient, pay: Pay) -> None:
    pay()
    listed = client.v1.events.list
    assert [event.type for event in listed({"type": "payment_intent.*"}).data] == [
        "payment_intent.succeeded", "payment_intent.created",
    ]  # fmt: skip
    wanted = ["charge.succeeded", "payment_intent.created"]
    assert [event.type for event in listed({"types": wanted}).data] == wanted
    with pytest.raises(stripe.InvalidRequestError):
        listed({"types": wanted, "type": "charge.succeeded"})


def test_an_event_holds_the_whole_object_of_its_moment(client: stripe.StripeClient, pay: Pay) -> None:
    paid = pay()
    [event] = client.v1.events.list({"type": "payment_intent.created"}).data
    assert event.data.object["status"] == "requires_confirmation"
    [done] = client.v1.events.list({"type": "payment_intent.succeeded"}).data
    fetched = client.v1.events.retrieve(done.id)
    assert fetched.data.object["id"] == paid.id
    assert (fetched.api_version, fetched.livemode, fetched.pending_webhooks) == ("2026-10-28.endive", False, 0)
    assert fetched.request is not None
    assert str(fetched.request.id).startswith("req_")


def test_events_are_shown_for_thirty_days(client: stripe.StripeClient, wire: Wire) -> None:
    make(client, 1)
    [event] = client.v1.events.list().data
    wire.sim("POST", "clock", hours=24 * 29)
    assert client.v1.events.retrieve(event.id).id == event.id
    wire.sim("POST", "clock", hours=48)
    assert client.v1.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.events.retrieve(event.id)
    assert caught.value.http_status == 404


def test_the_journal_shows_fee_net_and_the_whole_source_on_demand(
    client: stripe.StripeClient, wire: Wire, pay: Pay
) -> None:
    paid = pay(amount=2000)
    wire.sim("POST", f"charges/{paid.latest_charge}/dispute")
    client.v1.refunds.create({"payment_intent": pay(amount=1000).id})
    listed = client.v1.balance_transactions.list({"expand": ["data.source"], "limit": 100}).data
    assert [(one.type, one.amount, one.fee, one.net) for one in listed] == [
        ("refund", -1000, 0, -1000),
        ("charge", 1000, 59, 941),
        ("adjustment", -2000, 1500, -3500),
        ("charge", 2000, 88, 1912),
    ]  # fmt: skip
    sources = [plain(one.source) for one in listed]
    assert [source["object"] for source in sources] == ["refund", "charge", "dispute", "charge"]
    assert sources[2]["payment_intent"] == paid.id
    assert sources[2]["balance_transactions"][0]["fee"] == 1500


def test_the_journal_is_walked_by_cursor_and_by_time(client: stripe.StripeClient, wire: Wire, pay: Pay) -> None:
    pay()
    wire.sim("POST", "clock", hours=1)
    pay()
    listed = client.v1.balance_transactions.list
    newest = listed({"limit": 1})
    assert newest.has_more
    [oldest] = listed({"starting_after": newest.data[0].id}).data
    then = newest.data[0].created
    assert [one.id for one in listed({"created": {"gte": then}}).data] == [newest.data[0].id]
    assert oldest.created < then
