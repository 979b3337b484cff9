"""The same walk as on the embedded parts, with the database and the brokers of production."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests import databases
from tests.e2e import brokers
from tests.e2e.service import supervised
from tests.e2e.shop import Shop
from tests.e2e.walk import walk


@pytest.mark.parametrize("broker", [brokers.redis, brokers.rabbitmq], ids=["redis", "rabbitmq"])
def test_an_order_is_paid_refunded_and_counted_on_postgresql(
    broker: Callable[[Path], AbstractContextManager[str]], tmp_path: Path
) -> None:
    with (
        databases.postgresql() as database_url,
        broker(tmp_path) as broker_url,
        supervised(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url) as (service, _),
    ):
        walk(Shop(service))
