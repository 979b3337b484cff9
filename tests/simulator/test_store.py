"""simulator/store.py, simulator/ledger.py and simulator/journal.py"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import urllib3

from simulator import Simulator, SimulatorSettings
from tests.simulator.wire import Wire

ROOT = Path(__file__).parents[2]

PAY = "amount=1000&currency=usd&confirm=true&payment_method=pm_card_visa&metadata[order_id]=o1"


def test_the_ledger_totals_each_currency_by_itself(wire: Wire) -> None:
    for body in (PAY, PAY, PAY.replace("usd", "jpy")):
        wire("POST", "/v1/payment_intents", body)
    ledger = wire.sim("GET", "ledger")
    assert ledger["totals"] == {
        "usd": {"fee": -118, "payment": 2000, "net": 1882},
        "jpy": {"fee": -29, "payment": 1000, "net": 971},
    }
    assert ledger["movements"][0]["metadata"] == {"order_id": "o1"}
    last = ledger["movements"][-1]["id"]
    assert wire.sim("GET", f"ledger?after={last}")["movements"] == []


@pytest.mark.parametrize("table", ["movements", "requests"])
def test_the_witness_is_append_only(wire: Wire, tmp_path: Path, table: str) -> None:
    wire("POST", "/v1/payment_intents", PAY)
    connection = sqlite3.connect(tmp_path / "simulator.db")
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET created = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_every_request_is_logged_with_what_became_of_it(wire: Wire) -> None:
    for _ in range(2):
        wire("POST", "/v1/payment_intents", PAY, Idempotency_Key="k")
    wire("POST", "/v1/payment_intents", PAY + "1", Idempotency_Key="k")
    wire.faults({"kind": "reset", "next": 1})
    with pytest.raises(urllib3.exceptions.ProtocolError):
        wire("POST", "/v1/payment_intents", PAY, Idempotency_Key="k")
    lines = wire.sim("GET", "requests?idempotency_key=k")["requests"]
    assert [(line["status"], line["replayed"], line["fault"]) for line in lines] == [
        (200, False, None), (200, True, None), (400, False, None), (None, False, "reset before"),
    ]  # fmt: skip
    assert lines[0]["params_hash"] == lines[1]["params_hash"] != lines[2]["params_hash"]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    settings = SimulatorSettings(tmp_path, port=0)
    with Simulator(settings) as first:
        wire = Wire(first.url)
        paid = wire("POST", "/v1/payment_intents", PAY, Idempotency_Key="k")
        now = wire.sim("POST", "clock", hours=5)["now"]
        wire.close()
    with Simulator(settings) as second:
        wire = Wire(second.url)
        again = wire("POST", "/v1/payment_intents", PAY, Idempotency_Key="k")
        assert (again.data, again.headers["Idempotent-Replayed"]) == (paid.data, "true")
        assert wire.movements() == [("payment", 1000), ("fee", -59)]
        assert wire.sim("GET", "health")["now"] >= now
        wire.close()


def test_a_reset_leaves_nothing(wire: Wire) -> None:
    wire("POST", "/v1/payment_intents", PAY)
    wire.faults({"kind": "error_500"})
    wire.sim("POST", "clock", hours=5)
    wire.sim("POST", "reset")
    assert wire.sim("GET", "ledger") == {"movements": [], "totals": {}}
    assert wire("GET", "/v1/payment_intents").json()["data"] == []


def test_an_answered_payment_survives_kill_9_and_comes_with_its_movement(tmp_path: Path) -> None:
    environment = os.environ | {"SIMULATOR_PORT": "0", "STATE_DIR": str(tmp_path), "SIMULATOR_WEBHOOK_URL": ""}
    program = subprocess.Popen(
        [sys.executable, "-m", "simulator"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    url = program.stdout.readline().removeprefix("simulator: ").strip()
    answered: list[str] = []
    enough = threading.Semaphore(0)

    def pay_on() -> None:
        wire = Wire(url)
        while True:
            try:
                answered.append(wire("POST", "/v1/payment_intents", PAY).json()["id"])
            except urllib3.exceptions.HTTPError:
                break
            enough.release()
        wire.close()

    threads = [threading.Thread(target=pay_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        assert enough.acquire(timeout=30)
    os.kill(program.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    program.wait()
    program.stdout.close()

    with Simulator(SimulatorSettings(tmp_path, port=0)) as survivor:
        wire = Wire(survivor.url)
        movements = [line for line in wire.sim("GET", "ledger")["movements"] if line["kind"] == "payment"]
        moved = [line["payment_intent"] for line in movements]
        assert set(answered) <= set(moved)
        assert len(moved) == len(set(moved))
        for intent in moved:
            assert wire("GET", f"/v1/payment_intents/{intent}").json()["status"] == "succeeded"
        wire.close()
