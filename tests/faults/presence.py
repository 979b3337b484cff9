"""When each program was there to work, and what was out of order: nobody recovers while nobody can."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from math import inf

from tests.faults.history import FAULT, HEALED, Line

Span = tuple[float, float]
"""From one Unix time to another, which is infinite when it did not end."""
News = tuple[float, str, bool]
"""At a Unix time, a program came (True) or was gone."""
NEEDED = ("worker", "sweeper", "beat", "simulator")
"""Without one of each no job is taken, hinted or done."""


class Presence:
    """What is known about the programs; thread-safe."""

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds by which the programs' clocks are ahead of ours."""
        self._news: list[News] = []
        self._lock = threading.Lock()

    def came(self, name: str) -> None:
        """The program says that it works, or was let go on."""
        self._note(name, there=True)

    def left(self, name: str) -> None:
        """The program was started, stopped, killed, or ended: it does not work now."""
        self._note(name, there=False)

    def absent(self, *kinds: str) -> set[str]:
        """Programs whose names begin so and that are not there now."""
        with self._lock:
            last = {name: there for _, name, there in self._news if name.startswith(kinds)}
        return {name for name, there in last.items() if not there}

    def gaps(self) -> list[Span]:
        """When none of the workers, of those that sweep, or of the beats, or no simulator was there."""
        with self._lock:
            news = list(self._news)
        return gaps(news)

    def _note(self, name: str, there: bool) -> None:
        with self._lock:
            self._news.append((time.time() + self.ahead, name, there))


def gaps(news: Iterable[News]) -> list[Span]:
    """The spans in which one of the needed kinds of programs had nobody there."""
    told = sorted(news)
    return [span for kind in NEEDED for span in _gaps_of([one for one in told if one[1].startswith(kind)])]


def outages(lines: Iterable[Line]) -> list[Span]:
    """The spans in which what everybody uses (the broker, the database, its disk) was out of order."""
    since: dict[tuple[str, str], float] = {}
    spans = []
    for line in lines:
        about = (line.get("kind", ""), line.get("target", ""))
        if line["what"] == FAULT:
            since.setdefault(about, line["at"])
        elif line["what"] == HEALED and about in since and not one_program(about[1]):
            spans.append((since.pop(about), line["at"]))
    return spans


def one_program(target: str) -> bool:
    """Whether this names one of our programs, and not what all of them use."""
    return target.startswith((*NEEDED, "reconciler", "web"))


def overlap(spans: Iterable[Span], begin: float, end: float) -> float:
    """Seconds of the time from `begin` to `end` that lie in at least one of the spans."""
    covered, until = 0.0, begin
    for start, stop in sorted(spans):
        fresh = min(stop, end) - max(start, until)
        if fresh > 0:
            covered += fresh
            until = min(stop, end)
    return covered


def _gaps_of(news: list[News]) -> Iterator[Span]:
    there: set[str] = set()
    since: float | None = None
    for at, name, is_there in news:
        (there.add if is_there else there.discard)(name)
        if not there and since is None:
            since = at
        elif there and since is not None:
            yield since, at
            since = None
    if since is not None:
        yield since, inf
