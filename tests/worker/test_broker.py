"""A broker that was away is found again soon, by every connection that the worker opens."""

from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from tests.faults.servers import free_port
from worker.app import app
from worker.broker import Connection


def test_the_tries_to_reach_a_broker_begin_at_once_and_widen() -> None:
    waited: list[float] = []
    with Connection(f"redis://127.0.0.1:{free_port()}/0") as lost, pytest.raises(OperationalError):
        lost.ensure_connection(lambda error, interval: waited.append(round(interval, 1)), max_retries=3)
    assert waited[:3] == [0.2, 0.5, 0.8]


def test_an_interval_that_the_caller_names_stays() -> None:
    waited: list[float] = []
    with Connection(f"redis://127.0.0.1:{free_port()}/0") as lost, pytest.raises(OperationalError):
        lost.ensure_connection(lambda error, interval: waited.append(interval), max_retries=1, interval_start=0.01)
    assert waited[0] == 0.01


def test_the_workers_connections_are_such() -> None:
    with app.connection_for_read() as connection:
        assert isinstance(connection, Connection)
        assert isinstance(connection.clone(), Connection)
