"""A client of the HTTP API that keeps the contract: no answer, or 5xx, and it repeats with the same key."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.faults.history import History

TIMEOUT = 8.0
"""Seconds until a client gives an answer up."""
PATIENCE = 120.0
"""Seconds for which it repeats a request."""


@dataclass(frozen=True)
class Answer:
    """A whole answer with JSON in it."""

    status: int
    body: Any


class NoAnswer(Exception):
    """The request may have arrived; its answer did not, or was no JSON."""


class Caller:
    """Sends requests to any of several addresses and records them. One per thread; connections are kept.

    Args:
        ports: loopback ports of the same service.
        history: where calls are recorded.
        headers: sent with every request.
        dice: decides where a request goes.
    """

    def __init__(self, ports: Sequence[int], history: History, headers: dict[str, str], dice: random.Random) -> None:
        self._ports, self._history, self._headers, self._dice = ports, history, headers, dice
        self._connections = threading.local()

    def post(self, path: str, body: Any, op: str, key: str | None = None, prefer: str | None = None,
             **about: Any) -> Answer:  # fmt: skip
        """POST until an answer below 500 comes; each attempt is a line of the history.

        Raises:
            NoAnswer: none came in all the client's patience.
        """
        extra = {"Content-Type": "application/json"}
        extra |= {"Idempotency-Key": key} if key else {}
        extra |= {"Prefer": prefer} if prefer else {}
        return self._insist("POST", path, json.dumps(body).encode(), extra, {"op": op, "key": key, **about})

    def form(self, path: str, fields: dict[str, str], op: str, **about: Any) -> Answer:
        """POST a form, as a browser does at Stripe."""
        extra = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._insist("POST", path, urlencode(fields).encode(), extra, {"op": op, **about})

    def look(self, op: str, kind: str, object_id: str, patience: float = PATIENCE) -> Answer:
        """GET /orders/{id} or /jobs/{id} until an answer below 500 comes."""
        about = {"op": op, "kind": kind, "id": object_id}
        return self._insist("GET", f"/{kind}s/{object_id}", None, {}, about, patience)

    def get(self, path: str) -> Answer:
        """One GET that is nobody's business in the history.

        Raises:
            NoAnswer: no whole answer.
        """
        return self._send("GET", path, None, {})

    def _insist(self, method: str, path: str, body: bytes | None, extra: dict[str, str], about: dict[str, Any],
                patience: float = PATIENCE) -> Answer:  # fmt: skip
        give_up, pause = time.monotonic() + patience, 0.05
        while True:
            number = self._history.call(**about)
            try:
                answer = self._send(method, path, body, extra)
                if answer.status < 500 or answer.body.get("job_id"):  # an ended job's answer is one, however bad
                    self._history.answer(number, answer.status, answer.body)
                    return answer
                self._history.answer(number, answer.status, {})
                problem = f"answered {answer.status}"
            except NoAnswer as lost:
                self._history.lost(number, str(lost))
                problem = str(lost)
            if time.monotonic() > give_up:
                raise NoAnswer(f"{method} {path}: {problem}")
            time.sleep(pause * self._dice.uniform(0.5, 1.5))
            pause = min(pause * 2, 1.0)

    def _send(self, method: str, path: str, body: bytes | None, extra: dict[str, str]) -> Answer:
        port = self._dice.choice(self._ports)
        connections: dict[int, http.client.HTTPConnection] = self._connections.__dict__.setdefault("open", {})
        connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT))
        try:
            connection.request(method, path, body, self._headers | extra)
            response = connection.getresponse()
            text = response.read()
            if response.headers.get_content_type() in ("application/json", "application/problem+json"):
                return Answer(response.status, json.loads(text))
            return Answer(response.status, {"text": text.decode("utf-8", "replace")})
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
