from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.database import reading, transaction
from core.domain import accounts, payments
from tests.web.shop import NOWHERE, Shop, counts, end_job, make_key
from web import auth, tokens

BOOTSTRAP = "bootstrap-key-of-the-tests-0123456789"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer wrong", "Bearer caf\u00e9", "wrong"]
)
def test_without_a_known_key_nothing_is_shown(client: FlaskClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    response = client.get(f"/orders/{NOWHERE}", headers=headers)

    assert (response.status_code, response.get_json()["type"]) == (401, "/problems/unauthenticated")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="counterfoil"'


def test_the_scheme_is_read_in_any_case(client: FlaskClient) -> None:
    headers = {"Authorization": f"bearer {make_key('default')}"}

    assert client.get(f"/orders/{NOWHERE}", headers=headers).status_code == 404


def test_who_is_asking_is_settled_before_the_body_is_read(client: FlaskClient) -> None:
    assert client.post("/orders", data=b"{").status_code == 401


def test_a_key_is_stored_as_its_hash_only(app: Flask) -> None:
    secret = make_key("default")

    with reading() as conn:
        rows = conn.execute(accounts.api_keys.select()).all()

    assert len(secret) > 40
    assert secret not in str(rows)
    assert [row.hash for row in rows] == [accounts.digest(secret)]


def test_a_revoked_key_works_no_longer_than_it_is_remembered(shop: Shop) -> None:
    assert shop.get(f"/orders/{NOWHERE}").status_code == 404
    with transaction() as conn:
        [key] = accounts.list_keys(conn)
        assert accounts.revoke_key(conn, key.id)
        assert not accounts.revoke_key(conn, key.id)

    auth.memory.clear()

    assert shop.get(f"/orders/{NOWHERE}").status_code == 401


def test_a_remembered_key_asks_no_database(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shop.get(f"/orders/{NOWHERE}").status_code == 404
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    assert shop.get("/orders/7").status_code == 404


def test_the_memory_is_bounded_and_forgets() -> None:
    now = [0.0]
    memory = auth.Memory(clock=lambda: now[0])
    caller = auth.Caller("default", frozenset())
    for number in range(auth.REMEMBER_KEYS + 5):
        memory.put(str(number), caller)

    assert len(memory) <= auth.REMEMBER_KEYS
    assert memory.get(str(auth.REMEMBER_KEYS + 4)) == caller
    now[0] = auth.REMEMBER_SECONDS
    assert [memory.get(str(auth.REMEMBER_KEYS + 4)) for _ in range(2)] == [None, None]


def test_of_all_that_ask_late_one_looks_the_key_up_and_the_others_go_on() -> None:
    now = [0.0]
    memory = auth.Memory(clock=lambda: now[0])
    caller = auth.Caller("default", frozenset())
    memory.put("key", caller)

    now[0] = auth.RENEW_SECONDS - 0.1
    assert [memory.get("key") for _ in range(2)] == [caller, caller]
    now[0] = auth.RENEW_SECONDS
    assert [memory.get("key") for _ in range(3)] == [None, caller, caller]
    now[0] = auth.REMEMBER_SECONDS  # the one found no database, say: what is too old serves nobody
    assert [memory.get("key") for _ in range(2)] == [None, None]
    memory.put("key", caller)
    assert memory.get("key") == caller


def test_a_key_that_the_one_who_looks_finds_revoked_is_forgotten_for_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(auth, "memory", auth.Memory(clock=lambda: now[0]))
    assert shop.get(f"/orders/{NOWHERE}").status_code == 404
    with transaction() as conn:
        [key] = accounts.list_keys(conn)
        assert accounts.revoke_key(conn, key.id)
    assert shop.get(f"/orders/{NOWHERE}").status_code == 404  # known from before
    now[0] = auth.RENEW_SECONDS

    assert [shop.get(f"/orders/{NOWHERE}").status_code for _ in range(2)] == [401, 401]


def test_the_bootstrap_key_has_every_scope_of_the_default_account(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOTSTRAP_API_KEY", BOOTSTRAP)
    auth.ensure_bootstrap_key()
    auth.ensure_bootstrap_key()

    with reading() as conn:
        [key] = accounts.list_keys(conn)
    assert (key.account_id, key.scopes) == ("default", frozenset(accounts.SCOPES))
    assert Shop(client, BOOTSTRAP, "default").order()["status"] == "pending"


def test_the_bootstrap_key_works_although_the_database_was_away_at_the_start(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("BOOTSTRAP_API_KEY", BOOTSTRAP)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    auth.ensure_bootstrap_key()
    monkeypatch.setenv("DATABASE_URL", database_url)

    assert Shop(client, BOOTSTRAP, "default").order()["status"] == "pending"


def test_another_bootstrap_key_replaces_the_one_before(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (BOOTSTRAP, BOOTSTRAP + "-2", BOOTSTRAP):
        monkeypatch.setenv("BOOTSTRAP_API_KEY", key)
        auth.ensure_bootstrap_key()

    with reading() as conn:
        assert accounts.find_key(conn, BOOTSTRAP) is None, "a revoked key must not come back"
        assert accounts.find_key(conn, BOOTSTRAP + "-2")


def browser(shop: Shop, token: str) -> Shop:
    return Shop(shop.client, token, shop.account_id)


def test_a_checkout_token_pays_its_order(shop: Shop) -> None:
    placed = shop.order(metadata={"margin": "secret"})
    page = browser(shop, placed["checkout_token"])

    job_id = page.post(f"/orders/{placed['id']}/checkout").get_json()["job_id"]

    assert page.get(f"/jobs/{job_id}").status_code == 200
    shown = page.get(f"/orders/{placed['id']}").get_json()
    assert [job["id"] for job in shown["jobs"]] == [job_id]
    assert not {"metadata", "refunds", "disputes", "disputed"} & set(shown)


def test_a_checkout_token_opens_nothing_else(shop: Shop) -> None:
    placed, other = shop.paid_order(), shop.order()
    refund = shop.post(f"/orders/{placed['id']}/refunds", Idempotency_Key="r").get_json()["job_id"]
    other_job = shop.post(f"/orders/{other['id']}/checkout").get_json()["job_id"]
    before = counts()
    page = browser(shop, placed["checkout_token"])

    assert page.get(f"/orders/{other['id']}").status_code == 404
    assert page.post(f"/orders/{other['id']}/checkout").status_code == 404
    assert page.get(f"/jobs/{other_job}").status_code == 404
    assert page.get(f"/jobs/{refund}").status_code == 404
    assert page.post(f"/orders/{placed['id']}/refunds", Idempotency_Key="r2").status_code == 403
    assert page.post("/orders", {}).status_code == 403
    assert page.get(f"/users/{placed['user_id']}/statistics").status_code == 403
    assert page.post("/statistics/recompute").status_code == 403
    assert counts() == before


def test_a_changed_checkout_token_is_refused(shop: Shop) -> None:
    placed = shop.order()
    token = placed["checkout_token"]
    changed = token[:-5] + ("B" if token[-5] == "A" else "A") + token[-4:]  # another letter, whatever stood there

    response = browser(shop, changed).get(f"/orders/{placed['id']}")

    assert (response.status_code, response.get_json()["type"]) == (401, "/problems/unauthenticated")


def test_a_token_signed_with_another_key_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = shop.order()
    monkeypatch.setenv("SECRET_KEY", "another-secret-key-of-the-tests-0123")

    assert browser(shop, placed["checkout_token"]).get(f"/orders/{placed['id']}").status_code == 401


def test_an_old_checkout_token_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = shop.order()
    monkeypatch.setattr(tokens, "LIFETIME", -1)

    response = browser(shop, placed["checkout_token"]).get(f"/orders/{placed['id']}")

    assert response.status_code == 401
    assert "expired" in response.get_json()["detail"]


def test_a_job_of_another_account_does_not_exist(shop: Shop, rival: Shop) -> None:
    job_id = shop.post(f"/orders/{shop.order()['id']}/checkout").get_json()["job_id"]
    end_job(job_id)

    assert rival.get(f"/jobs/{job_id}").status_code == 404
    assert rival.get(f"/jobs/{job_id}", Accept="text/event-stream").status_code == 404


def test_a_browsers_keys_are_its_own_and_take_none_of_the_shops(shop: Shop) -> None:
    placed, other = shop.order(), shop.order()
    path = f"/orders/{placed['id']}/checkout"
    own, stranger = (Shop(shop.client, one["checkout_token"], "default") for one in (placed, other))

    theirs = stranger.post(f"/orders/{other['id']}/checkout", Idempotency_Key="1")
    its = own.post(path, Idempotency_Key="1")
    ours = shop.post(path, Idempotency_Key="1")

    assert [answer.status_code for answer in (theirs, its, ours)] == [202, 202, 202]
    assert len({answer.get_json()["job_id"] for answer in (theirs, its, ours)}) == 3
    assert own.post(path, Idempotency_Key="1").get_json()["job_id"] == its.get_json()["job_id"]
    assert shop.post(path, Idempotency_Key="1").get_json()["job_id"] == ours.get_json()["job_id"]
    with reading() as conn:
        assert len(payments.of_order(conn, placed["id"])) == 1
