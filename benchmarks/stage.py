"""What a case works with: the bed, the sides on it, and a place for its samples."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from threading import Event
from typing import ParamSpec

from benchmarks import bed, postgres
from benchmarks.bed import Bed
from benchmarks.options import Options
from benchmarks.orders import NoRoom
from benchmarks.peers.registry import PEERS, missing
from benchmarks.peers.side import Peer, PeerSide
from benchmarks.postgres import Database
from benchmarks.processes import ProgramFailed
from benchmarks.product import NAME, Product
from benchmarks.results import Sample
from benchmarks.side import Side

Numbers = dict[str, float]
P = ParamSpec("P")


class Stage:
    """A run.

    Args:
        options: what was asked for.
        stack: ends with the run, and with it whatever was started.
        stopped: once it is set, nothing more is measured.
    """

    def __init__(self, options: Options, stack: ExitStack, stopped: Event) -> None:
        self.options = options
        self.samples: list[Sample] = []
        self._stack = stack
        self._stopped = stopped

    @cached_property
    def bed(self) -> Bed:
        """Started when a case first needs it."""
        return self._stack.enter_context(bed.made(self.options.server))

    @cached_property
    def product(self) -> Product:
        """The product on a database of its own."""
        return Product(self.bed, self.product_database)

    @cached_property
    def product_database(self) -> Database:
        """The product's database, with its schema."""
        return self._prepared("product", Product.prepare)

    def product_apart(self, purpose: str) -> Product:
        """The product on one more database of its own."""
        return Product(self.bed, self._prepared(purpose, Product.prepare))

    def ours(self) -> list[Side]:
        """The product, if it was asked for."""
        return [self.product] if self.options.wants(NAME) else []

    def peers(self, body: str = "bare") -> list[Side]:
        """The installed peers that were asked for, as workers."""
        return [PeerSide(peer, self.bed, self._peers_database, body) for peer in self._present()]

    def webs(self) -> list[Side]:
        """The installed peers that were asked for, each behind its web applications."""
        return [
            PeerSide(peer, self.bed, self._peers_database, app=app) for peer in self._present() for app in peer.webs
        ]

    def _present(self) -> list[Peer]:
        wanted = [peer for peer in PEERS if self.options.wants(peer.name)]
        for peer in wanted:
            if lacking := missing(peer):
                say(f"{peer.name} is left out: {', '.join(lacking)} not installed (requirements-bench.lock)")
        return [peer for peer in wanted if not missing(peer)]

    @cached_property
    def _peers_database(self) -> Database:
        return self._prepared("peers", PeerSide.prepare)

    def _prepared(self, purpose: str, prepare: Callable[[Database], None]) -> Database:
        database = self._stack.enter_context(postgres.fresh(self.options.server, purpose))
        prepare(database)
        return database

    def measure(
        self, case: str, side: str, work: Callable[P, Numbers], *arguments: P.args, **options: P.kwargs
    ) -> Sample:
        """Take one sample; what goes wrong is kept as its problem, so that the others are still measured."""
        if self._stopped.is_set():
            raise KeyboardInterrupt
        began = time.monotonic()
        try:
            sample = Sample(case, side, work(*arguments, **options))
        except (ProgramFailed, NoRoom, Unfair) as error:
            sample = Sample(case, side, problem=f"{error}")
        self.samples.append(sample)
        shown = sample.problem or ", ".join(f"{name} {value:,.4g}" for name, value in list(sample.numbers.items())[:8])
        say(f"{case} {side}: {shown} ({time.monotonic() - began:.0f} s)")
        return sample


class Unfair(Exception):
    """A side did not do what was measured: its figure must not count."""


def say(line: str) -> None:
    """Progress, apart from the results on standard output."""
    print(line, file=sys.stderr, flush=True)
