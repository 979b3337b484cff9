"""simulator/program.py, simulator/__main__.py, simulator/settings.py and simulator/http_server.py"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from simulator import SettingsError, Simulator, SimulatorSettings
from simulator.settings import load
from tests.simulator.receiver import eventually
from tests.simulator.wire import Wire

ROOT = Path(__file__).parents[2]


def test_the_front_page_says_what_it_is(wire: Wire) -> None:
    page = wire("GET", "/", key=None)
    assert page.status == 200
    assert b"stand-in for Stripe" in page.data
    assert wire("GET", "/elsewhere", key=None).status == 404
    assert wire("GET", "/_sim/elsewhere", key=None).status == 404


def test_it_listens_on_loopback_only(simulator: Simulator) -> None:
    with socket.socket() as probe:
        # Another loopback address is free: the port is not taken on all interfaces.
        probe.bind(("127.0.0.2", simulator.port))


def test_hundreds_of_slow_requests_are_in_flight_together(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(tmp_path, port=0, latency_ms=300)) as simulator:
        wire = Wire(simulator.url)
        began = time.monotonic()
        with ThreadPoolExecutor(200) as threads:
            answers = list(threads.map(lambda n: wire("POST", "/v1/customers", f"name=n{n}").status, range(200)))
        assert answers == [200] * 200
        assert time.monotonic() - began < 200 * 0.3 / 2, "they waited for each other"
        wire.close()


def test_stopping_hangs_up_and_frees_the_port(tmp_path: Path) -> None:
    running = Simulator(SimulatorSettings(tmp_path, port=0)).start()
    wire = Wire(running.url)
    assert wire("GET", "/v1/customers").status == 200
    running.stop()
    with pytest.raises(urllib3.exceptions.HTTPError):
        wire("GET", "/v1/customers")
    with Simulator(SimulatorSettings(tmp_path, port=running.port)):
        eventually(lambda: wire("GET", "/v1/customers").status == 200)
    wire.close()


@pytest.mark.parametrize(("head", "status"), [("Content-Length: 2000000", 413), ("Content-Length: -1", 400),
                                              ("Transfer-Encoding: chunked", 411)])  # fmt: skip
def test_a_body_of_no_or_too_great_length_is_refused(simulator: Simulator, head: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", simulator.port)) as raw:
        raw.sendall(f"POST /v1/customers HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        assert f" {status} ".encode() in raw.recv(1000)


def start(tmp_path: Path, **variables: str) -> subprocess.Popen[str]:
    """The program, as a user starts it."""
    environment = os.environ | {"SIMULATOR_PORT": "0", "STATE_DIR": str(tmp_path)} | variables
    return subprocess.Popen(
        [sys.executable, "-m", "simulator"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, STRIPE_WEBHOOK_SECRET="whsec_a,whsec_b") as program:
        assert program.stdout is not None
        url = program.stdout.readline().removeprefix("simulator: ").strip()
        wire = Wire(url)
        assert wire.sim("GET", "health")["status"] == "ok"
        program.send_signal(number)
        assert program.wait(timeout=20) == 0
        wire.close()


def test_a_taken_port_is_said_in_one_line(simulator: Simulator, tmp_path: Path) -> None:
    with start(tmp_path / "other", SIMULATOR_PORT=str(simulator.port), SIMULATOR_WEBHOOK_URL="") as program:
        _, said = program.communicate(timeout=20)
        assert program.returncode == 2
        assert said.startswith("simulator: ")
        assert said.count("\n") == 1


WRONG = [
    ({"SIMULATOR_PORT": "many"}, "SIMULATOR_PORT"),
    ({"SIMULATOR_PORT": "70000"}, "SIMULATOR_PORT"),
    ({"SIMULATOR_LATENCY_MS": "-1"}, "SIMULATOR_LATENCY_MS"),
    ({"SIMULATOR_SETTLE_SECONDS": "soon"}, "SIMULATOR_SETTLE_SECONDS"),
    ({"SIMULATOR_WEBHOOK_URL": "https://shop.example/hooks"}, "SIMULATOR_WEBHOOK_URL"),
    ({}, "STRIPE_WEBHOOK_SECRET"),
]


@pytest.mark.parametrize(("environ", "named"), WRONG)
def test_a_wrong_setting_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load([], environ)


def test_flags_win_over_the_environment_and_the_first_secret_signs() -> None:
    environ = {"SIMULATOR_PORT": "1", "STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old", "STRIPE_SECRET_KEY": "sk_test_a"}
    settings = load(["--simulator-port", "2", "--simulator-latency-ms=300"], environ)
    assert (settings.port, settings.latency_ms) == (2, 300)
    assert (settings.webhook_secret, settings.secret_key, settings.publishable_key) == ("whsec_new", "sk_test_a", None)
    assert settings.webhook_url == "http://127.0.0.1:8000/webhooks/stripe"
