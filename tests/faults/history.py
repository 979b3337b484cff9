"""What the clients saw: each call, and its answer or the lack of one. The checker believes nothing else of us."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]

CALL, ANSWER, LOST, FAULT, HEALED = "call", "answer", "lost", "fault", "healed"
ASKED, TAKEN = "asked", "taken"
"""What workers note of a job, in a file of their own."""


class History:
    """Append-only JSON lines, in memory and in a file; thread-safe.

    Args:
        file: where the lines go.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.lines: list[Line] = []

    def call(self, op: str, **about: Any) -> int:
        """A client sends a request; returns the number that its answer refers to.

        Args:
            op: order, checkout, pay, refund, poll or final.
            about: what was asked, for the checker: reference, order, job, key, amount.
        """
        number = next(self._numbers)
        self._write({"what": CALL, "call": number, "op": op, **about})
        return number

    def answer(self, call: int, status: int, body: Any) -> None:
        """The answer of a call arrived, whole."""
        self._write({"what": ANSWER, "call": call, "status": status, "body": body})

    def lost(self, call: int, reason: str) -> None:
        """No answer: the outcome of the call is unknown to its client."""
        self._write({"what": LOST, "call": call, "reason": reason})

    def fault(self, kind: str, target: str = "", at: float | None = None) -> None:
        """Something was broken now, or at the Unix time `at`."""
        self._write({"what": FAULT, "kind": kind, "target": target}, at)

    def healed(self, kind: str, target: str = "", ahead: float = 0.0) -> None:
        """What was broken for a while works again, on clocks that are `ahead` seconds of ours."""
        self._write({"what": HEALED, "kind": kind, "target": target}, time.time() + ahead)

    def close(self) -> None:
        """Write everything out."""
        with self._lock:
            self._file.close()

    def _write(self, line: Line, at: float | None = None) -> None:
        with self._lock:
            line["at"] = time.time() if at is None else at
            self.lines.append(line)
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def answered(lines: list[Line], op: str | None = None) -> Iterator[tuple[Line, Line]]:
    """(call, answer) pairs in the order of the answers, of one kind of call or of all."""
    calls = {line["call"]: line for line in lines if line["what"] == CALL}
    for line in lines:
        if line["what"] == ANSWER and op in (None, calls[line["call"]]["op"]):
            yield calls[line["call"]], line
