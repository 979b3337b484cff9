"""API keys: shown once, stored as hashes, gone when revoked."""

from __future__ import annotations

import pytest

from core.database import reading, transaction
from core.domain import accounts
from core.domain.accounts import BOOTSTRAP, CHECKOUT, DEFAULT, READ, SCOPES, Key
from tests.core.domain.racing import race

pytestmark = pytest.mark.usefixtures("database_url")

SECRET = "s" * 32


def create(account_id: str = "acme", scopes: tuple[str, ...] = (CHECKOUT, READ)) -> tuple[Key, str]:
    with transaction() as conn:
        return accounts.create_key(conn, account_id, "till", scopes)


def find(secret: str) -> Key | None:
    with reading() as conn:
        return accounts.find_key(conn, secret)


def bootstrap(secret: str) -> bool:
    with transaction() as conn:
        return accounts.ensure_bootstrap_key(conn, secret)


def revoke(key_id: str) -> bool:
    with transaction() as conn:
        return accounts.revoke_key(conn, key_id)


def test_a_key_is_found_by_its_secret_which_is_stored_nowhere() -> None:
    key, secret = create()
    assert find(secret) == key
    assert (key.account_id, key.name, key.scopes, key.revoked_at) == ("acme", "till", frozenset({CHECKOUT, READ}), None)
    assert len(secret) > 40
    with reading() as conn:
        stored = conn.exec_driver_sql("SELECT * FROM api_keys").one()
    assert secret not in map(str, stored)


@pytest.mark.parametrize("wrong", ["", "cfk_", "x" * 10_000, "\ud800", "\x00"])
def test_a_wrong_secret_finds_no_key(wrong: str) -> None:
    _, secret = create()
    assert find(wrong) is None
    assert find(secret + wrong) is None or not wrong
    assert find(secret.upper()) is None


def test_a_revoked_key_is_found_no_more_and_stays_listed() -> None:
    key, secret = create()
    other, other_secret = create()
    assert revoke(key.id)
    assert not revoke(key.id)
    assert not revoke("nonsense")
    assert (find(secret), find(other_secret)) == (None, other)
    with reading() as conn:
        assert [(one.id, one.revoked_at is None) for one in accounts.list_keys(conn)] == [
            (key.id, False), (other.id, True),
        ]  # fmt: skip


def test_an_accounts_keys_are_listed_apart() -> None:
    mine, _ = create()
    create("other")
    with reading() as conn:
        assert accounts.list_keys(conn, "acme") == [mine]
        assert len(accounts.list_keys(conn)) == 2


def test_the_bootstrap_key_is_one_key_with_every_scope_however_often_programs_start() -> None:
    assert race(8, lambda _: bootstrap(SECRET)) == [True] * 8
    key = find(SECRET)
    assert key is not None
    assert (key.account_id, key.name, key.scopes) == (DEFAULT, BOOTSTRAP, frozenset(SCOPES))
    with reading() as conn:
        assert len(accounts.list_keys(conn)) == 1


def test_a_new_bootstrap_key_replaces_the_one_before_and_a_revoked_one_stays_revoked() -> None:
    bootstrap(SECRET)
    assert bootstrap("t" * 32)
    assert find(SECRET) is None
    assert not bootstrap(SECRET)
    key, secret = create(DEFAULT)
    bootstrap("u" * 32)
    assert find(secret) == key  # an ordinary key of the account is left alone
