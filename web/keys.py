"""`flask --app web keys ...`: make, list and revoke API keys."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from core.clock import rfc3339
from core.database import DatabaseUnavailable, reading, transaction
from core.domain import accounts

keys = AppGroup("keys", help="Make, list and revoke API keys.")


class Scopes(click.ParamType[tuple[str, ...]]):
    """Scopes separated by commas."""

    name = "scopes"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The scopes in `value`, each once and in their usual order."""
        asked = {scope.strip() for scope in value.split(",")}
        unknown = asked - set(accounts.SCOPES)
        if unknown:
            self.fail(
                f"{', '.join(sorted(unknown)) or 'nothing'}: choose from {', '.join(accounts.SCOPES)}", param, ctx
            )
        return tuple(scope for scope in accounts.SCOPES if scope in asked)


@keys.command("create")
@click.option("--account", default=accounts.DEFAULT, show_default=True, help="The account; made when it is new.")
@click.option("--name", required=True, help="What the key is for, for people.")
@click.option("--scopes", type=Scopes(), default=",".join(accounts.SCOPES), show_default=True)
def create(account: str, name: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it: the only time that it can be seen."""
    for label, value, longest in (("--account", account, 64), ("--name", name, 100)):
        if not (1 <= len(value) <= longest and value.isprintable()):
            raise click.BadParameter(f"1 to {longest} printable characters", param_hint=label)
    try:
        with transaction() as conn:
            key, secret = accounts.create_key(conn, account, name, scopes)
    except DatabaseUnavailable as error:
        raise click.ClickException(error.detail) from error
    click.echo(f"key {key.id} of account {account}, shown only now:", err=True)
    click.echo(secret)


@keys.command("list")
@click.option("--account", default=None, help="Only this account's.")
def list_keys(account: str | None) -> None:
    """List keys, without their secrets."""
    try:
        with reading() as conn:
            found = accounts.list_keys(conn, account)
    except DatabaseUnavailable as error:
        raise click.ClickException(error.detail) from error
    for key in found:
        state = f"revoked {rfc3339(key.revoked_at)}" if key.revoked_at else "valid"
        scopes = ",".join(scope for scope in accounts.SCOPES if scope in key.scopes)
        click.echo(f"{key.id}  {key.account_id}  {key.name}  {scopes}  {rfc3339(key.created_at)}  {state}")


@keys.command("revoke")
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key by its id. Running processes notice within a few seconds."""
    try:
        with transaction() as conn:
            revoked = accounts.revoke_key(conn, key_id)
    except DatabaseUnavailable as error:
        raise click.ClickException(error.detail) from error
    if not revoked:
        raise click.ClickException(f"there is no valid key {key_id}")
    click.echo(f"revoked {key_id}")
