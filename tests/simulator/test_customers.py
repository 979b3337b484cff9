"""simulator/resources/customers.py"""

from __future__ import annotations

import pytest
import stripe

from tests.simulator.wire import Wire, plain


def test_a_customer_is_created_changed_listed_and_deleted(client: stripe.StripeClient) -> None:
    customers = client.v1.customers
    made = customers.create({"email": "ann@example.com", "name": "Ann", "metadata": {"user_id": "7", "plan": "a"}})
    changed = customers.update(made.id, {"name": "", "metadata": {"plan": "", "tier": "gold"}})
    assert (changed.name, plain(changed.metadata)) == (None, {"user_id": "7", "tier": "gold"})
    assert customers.retrieve(made.id).email == "ann@example.com"
    assert [found.id for found in customers.list({"email": "ann@example.com"}).data] == [made.id]
    assert customers.delete(made.id).deleted
    assert customers.retrieve(made.id).deleted
    assert customers.list().data == []


def test_a_deleted_customer_cannot_be_changed_or_charged(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create()
    client.v1.customers.delete(made.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        client.v1.customers.update(made.id, {"name": "Eve"})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer") as caught:
        client.v1.payment_intents.create({"amount": 500, "currency": "usd", "customer": made.id})
    assert (caught.value.http_status, caught.value.param) == (400, "customer")


def test_an_email_without_a_host_is_refused(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.customers.create({"email": "ann"})
    assert caught.value.code == "email_invalid"


def test_all_metadata_is_cleared_by_an_empty_value(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"metadata": {"a": "1"}})
    assert plain(client.v1.customers.update(made.id, {"metadata": ""}).metadata) == {}


@pytest.mark.parametrize(
    "body",
    ["metadata[" + "k" * 41 + "]=v", "metadata[k]=" + "v" * 501, "&".join(f"metadata[k{n}]=v" for n in range(51))],
)
def test_metadata_beyond_stripes_limits_is_refused(wire: Wire, body: str) -> None:
    assert wire("POST", "/v1/customers", body).status == 400


def test_customer_events_tell_what_changed(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"name": "Ann", "address": {"city": "Oslo", "country": "NO"}})
    client.v1.customers.update(made.id, {"address": {"city": "Bergen", "country": "NO"}})
    client.v1.customers.delete(made.id)
    deleted, updated, created = client.v1.events.list().data
    assert [deleted.type, updated.type, created.type] == ["customer.deleted", "customer.updated", "customer.created"]
    assert plain(updated.data)["previous_attributes"] == {"address": {"city": "Oslo"}}
    assert updated.data.object["address"]["city"] == "Bergen"
