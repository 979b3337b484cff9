"""What a command that could not do its work says: one line, exit status 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from core.database import DatabaseUnavailable
from core.payments import PaymentError


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn what is expected to go wrong into one line.

    Raises:
        click.ClickException: the database or Stripe did not answer as it should.
    """
    try:
        yield
    except (DatabaseUnavailable, PaymentError) as error:
        raise click.ClickException(str(error)) from error
