from __future__ import annotations

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient

from tests.web.shop import NOWHERE, Shop
from web import auth


def run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["keys", *arguments])


def test_a_key_is_made_listed_and_revoked(app: Flask, client: FlaskClient) -> None:
    made = run(app, "create", "--account", "tea-shop", "--name", "till", "--scopes", "read,checkout")
    secret = made.stdout.strip()
    assert made.exit_code == 0
    assert Shop(client, secret, "tea-shop").order()["status"] == "pending"

    listed = run(app, "list", "--account", "tea-shop").stdout
    key_id = listed.split()[0]
    assert "tea-shop  till  checkout,read" in listed
    assert listed.rstrip().endswith("valid")
    assert secret not in listed

    assert run(app, "revoke", key_id).exit_code == 0
    assert "revoked" in run(app, "list").stdout
    auth.memory.clear()
    assert client.get(f"/orders/{NOWHERE}", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_a_key_has_every_scope_unless_told_otherwise(app: Flask) -> None:
    run(app, "create", "--name", "all")

    assert "default  all  checkout,refund,read,operate" in run(app, "list").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("create",),
        ("create", "--name", ""),
        ("create", "--name", "x" * 101),
        ("create", "--name", "a", "--account", "a\nb"),
        ("create", "--name", "a", "--scopes", "read,write"),
        ("create", "--name", "a", "--scopes", ""),
        ("revoke", NOWHERE),
        ("revoke", "7"),
    ],
)
def test_what_makes_no_sense_is_refused(app: Flask, arguments: tuple[str, ...]) -> None:
    assert run(app, *arguments).exit_code != 0
    assert run(app, "list").stdout == ""


@pytest.mark.parametrize("arguments", [("create", "--name", "a"), ("list",), ("revoke", NOWHERE)])
def test_a_database_that_is_away_is_said_in_one_line(
    app: Flask, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    ended = run(app, *arguments)

    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: ")
    assert "Traceback" not in ended.output
