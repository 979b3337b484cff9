"""The simulator put together; `python -m simulator` and the tests run the same."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from simulator.api import Api
from simulator.clock import Clock
from simulator.control import Control
from simulator.deliveries import Deliverer
from simulator.errors import unknown_url
from simulator.faults import FaultPlan
from simulator.http_server import Server
from simulator.messages import Answer, Request, json_answer
from simulator.settings import SimulatorSettings
from simulator.store import Store
from simulator.timers import Ticker

ABOUT = (
    "A stand-in for Stripe's API, for development and tests. No money moves here.\n"
    "API: /v1   Control: /_sim/health /_sim/ledger /_sim/requests /_sim/deliveries /_sim/faults /_sim/clock\n"
)


class Simulator:
    """A running simulator, in threads of this process.

    Args:
        settings: how to run; port 0 picks a free one.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._store = Store(settings.state_dir)
        clock, faults = Clock(self._store), FaultPlan()
        self._deliverer = Deliverer(settings, self._store, clock)
        self._api = Api(settings, self._store, clock, faults, self._deliverer)
        self._control = Control(self._api, self._store, clock, faults)
        try:
            self._server = Server(settings.port, self._answer)
        except OSError:
            self._store.close()
            raise
        self._api.base_url = self.url
        self._ticker = Ticker(self._api, self._deliverer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="simulator", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What to give an SDK as the base address of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Serve, and take up deliveries and timers that an earlier life left."""
        self._thread.start()
        self._ticker.start()
        return self

    def stop(self) -> None:
        """Stop serving, hang up, and close the database."""
        self._api.stopping.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._ticker.join()
        self._deliverer.stop()
        self._store.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith("/v1/"):
            return self._api.handle(request)
        if request.path.startswith("/_sim/"):
            return self._control.handle(request)
        if request.path == "/":
            return Answer(200, ABOUT.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        return json_answer(404, unknown_url(request.method, request.path).body())
