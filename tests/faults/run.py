"""One run: a world, customers in it, faults beside them; then quiet, a last look at everything, and the verdict."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Self

from tests.faults import witness
from tests.faults.caller import Caller, NoAnswer
from tests.faults.checker import Checker, Violation
from tests.faults.customer import Customer, Habits
from tests.faults.history import ASKED, TAKEN, History
from tests.faults.recovery import Evidence, Recovery, first_waits, percentile, read_claims, recoveries
from tests.faults.world import API_KEY, PUBLISHABLE_KEY, World

PATIENCE = 150.0
LONGEST_LOAD = 60.0
"""Seconds that customers go on for an event to happen."""
PAUSE = 0.7
SWEEP_SECONDS = 1.0
"""From one sweep to the next, as celeryconfig's beat schedule says."""
SOON = 2.0
"""Seconds after which a job that nobody has taken yet waits for a full worker, or for another hint."""


def always() -> bool:
    """The usual end of a load: when its operations are done."""
    return True


@dataclass
class Result:
    """What one run showed; the violations decide."""

    operations: int
    seconds: float
    violations: list[Violation]
    recovery: list[Recovery] = field(repr=False)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Faults that did not happen: the run proves nothing."""
    limit: float = 0.0
    """The longest T that is promised, in seconds; 0 where none is."""

    @property
    def rate(self) -> float:
        """Operations per second while the load ran."""
        return self.operations / self.seconds if self.seconds else 0.0

    def count(self, letter: str) -> int:
        """Violations of one kind."""
        return sum(one.letter == letter for one in self.violations)

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        """The result that another process showed."""
        violations = [Violation.parse(text) for text in shown["violations"]]
        recovery = [Recovery(*one) for one in shown["recovery"]]
        return cls(
            shown["operations"], shown["seconds"], violations, recovery, shown["notes"], shown["broken"], shown["limit"]
        )

    @classmethod
    def sum(cls, results: Sequence[Self]) -> Self:
        """What several runs showed together."""
        return cls(
            sum(one.operations for one in results),
            sum(one.seconds for one in results),
            [violation for one in results for violation in one.violations],
            [recovery for one in results for recovery in one.recovery],
            [note for one in results for note in one.notes],
            [reason for one in results for reason in one.broken],
            max(one.limit for one in results),
        )

    def recovered(self, share: float, alone: bool = False) -> float | None:
        """The percentile of T, in seconds; None when nothing was held up.

        Args:
            alone: of those that had lost two workers in a row, instead of the others.
        """
        return percentile([one.promised for one in self.recovery if one.alone == alone], share)

    def held_up(self, alone: bool = False) -> int:
        """How many there are."""
        return sum(one.alone == alone for one in self.recovery)

    def waited(self, share: float) -> float | None:
        """The percentile of the whole times to the end of the job, in seconds."""
        return percentile([one.whole for one in self.recovery], share)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        letters = {letter: self.count(letter) for letter in "LCROF"}
        return {
            "operations": self.operations, "seconds": round(self.seconds, 1), "rate": round(self.rate, 1), **letters,
            "held_up": self.held_up(), "recovery_p50": self.recovered(0.5), "recovery_p99": self.recovered(0.99),
            "alone": self.held_up(alone=True), "alone_p99": self.recovered(0.99, alone=True),
            "whole_p50": self.waited(0.5), "whole_p99": self.waited(0.99),
            "recovery": [[round(promised, 3), round(whole, 3), alone] for promised, whole, alone in self.recovery],
            "limit": self.limit,
            "violations": list(map(str, self.violations)), "notes": self.notes, "broken": self.broken,
        }  # fmt: skip


class Run:
    """Customers and faults in one world.

    Args:
        world: it runs already.
        seed: of everything that is random here.
        name: begins every reference and key, so that several runs can share a world.
        patience: the longest wait in seconds for every job to end once nothing is broken any more.
    """

    def __init__(self, world: World, seed: int, name: str = "run", patience: float = PATIENCE) -> None:
        self.world, self.seed, self.name, self._patience = world, seed, f"{name}-{seed}", patience
        self.dice = random.Random(self.name)
        self.history = History(world.folder / f"{self.name}.jsonl")
        self.done = threading.Event()
        """Set when the load has ended: faults heal what they broke, and stop."""
        self.notes: list[str] = []
        self.broken: list[str] = []
        self._shop = self._caller(world.web_ports, f"Bearer {API_KEY}")
        self._stripe = self._caller([world.stripe_port], f"Bearer {PUBLISHABLE_KEY}")
        self._customers: list[Customer] = []
        self._breakers: list[threading.Thread] = []
        self._lock = threading.Lock()

    def plan_stripe(self, **plan: Any) -> None:
        """Put a fault plan of the simulator in force, seeded like everything else."""
        control = self._caller([self.world.stripe_port], "")
        body = {"seed": self.seed, "requests": [], "webhooks": [], **plan}
        control.post("/_sim/faults", body, "control")

    def jump_clock(self, hours: float) -> None:
        """Move the simulator's clock."""
        self._caller([self.world.stripe_port], "").post("/_sim/clock", {"hours": hours}, "control")

    def warm_up(self) -> None:
        """Return when a payment has gone through: every program works."""
        quiet = History(self.world.folder / f"{self.name}.warm-up.jsonl")
        shop = Caller(self.world.web_ports, quiet, {"Authorization": f"Bearer {API_KEY}"}, self.dice)
        Customer(f"{self.name}-warm-up", shop, self._stripe, self.dice, Habits(refunds=0)).run()
        quiet.close()

    def load(
        self,
        operations: int,
        habits: Habits,
        clients: int,
        faults: Sequence[Callable[[Run], None]] = (),
        until: Callable[[], bool] = always,
        longest: float = LONGEST_LOAD,
    ) -> float:
        """Have customers do so many operations while the faults happen; returns the seconds it took.

        Args:
            until: they go on as long as this is False.
            longest: seconds after which they wait for it no longer.
        """
        habits = replace(habits, waits=min(habits.waits, self._patience))
        give_up = time.monotonic() + longest

        def enough(done: int) -> bool:
            return done >= operations and (until() or time.monotonic() > give_up)

        self._breakers = [threading.Thread(target=self._break, args=(fault,)) for fault in faults]
        for breaker in self._breakers:
            breaker.start()
        started = time.monotonic()
        together = ThreadPoolExecutor(clients)
        try:
            for future in [together.submit(self._serve, enough, habits) for _ in range(clients)]:
                future.result()
        except BaseException:  # we are to stop: customers would insist on answers for minutes
            together.shutdown(wait=False, cancel_futures=True)
            self.done.set()
            raise
        seconds = time.monotonic() - started
        self.done.set()
        for breaker in self._breakers:
            breaker.join()
        return seconds

    def broken_enough(self) -> bool:
        """Whether every fault that ends by itself has ended."""
        return not any(breaker.is_alive() for breaker in self._breakers)

    def _break(self, fault: Callable[[Run], None]) -> None:
        try:
            fault(self)
        except Exception as error:  # noqa: BLE001 - a fault that does not happen makes the run worth nothing
            self.broken.append(f"{fault.__name__}: {error!r}")

    def judge(self, seconds: float) -> Result:
        """Wait until nothing moves any more, look at everything once more, and decide."""
        deadline = time.monotonic() + self._patience
        if not self._becomes_quiet(deadline):
            self.notes.append(f"not quiet after {self._patience:g} s")
        self._look(self._everything())
        while True:  # what no webhook told is found by the reconciliation, a few periods later
            found = self._violations()
            pending = [_object_of(one) for one in found if one.letter in "FL"]
            if not pending or time.monotonic() > deadline:
                break
            time.sleep(PAUSE)
            self._look(pending)
        self.history.close()
        recovery = self._recovery()
        operations, limit = sum(one.operations for one in self._customers), self.world.plan.lease + 2 * SWEEP_SECONDS
        return Result(operations, seconds, found, recovery, self.notes, self.broken, limit)

    def _recovery(self) -> list[Recovery]:
        taken, asked = (read_claims(self.world.claims, what) for what in (TAKEN, ASKED))
        evidence = Evidence(taken, asked, self.world.presence.gaps())
        waits = [seconds for seconds in first_waits(self.history.lines, evidence) if seconds > SOON]
        if waits:
            self.notes.append(f"{len(waits)} jobs waited for their first worker for {SOON:g} to {waits[-1]:.1f} s")
        return recoveries(self.history.lines, evidence)

    def _violations(self) -> list[Violation]:
        poisoned = frozenset(str(one.order_id) for one in self._customers if one.poisoned)
        return Checker(self.history.lines, witness.read(self.world.folder), poisoned).violations()

    def _serve(self, enough: Callable[[int], bool], habits: Habits) -> None:
        while True:
            with self._lock:
                if enough(sum(one.operations for one in self._customers)):
                    return
                name = f"{self.name}-{len(self._customers)}"
                customer = Customer(name, self._shop, self._stripe, random.Random(name), habits)
                self._customers.append(customer)
            customer.run()

    def _becomes_quiet(self, deadline: float) -> bool:
        """Whether in time no webhook is on its way and no job waits or runs, at two looks one after the other.

        Scheduled jobs are not waited for: there is always one.
        """
        calm = 0
        while calm < 2 and time.monotonic() < deadline:
            calm = calm + 1 if witness.read(self.world.folder).pending == 0 and self.world.open_jobs() == 0 else 0
            time.sleep(PAUSE)
        return calm == 2

    def _everything(self) -> list[tuple[str, str]]:
        orders = [("order", one.order_id) for one in self._customers if one.order_id]
        return [*orders, *(("job", job_id) for one in self._customers for job_id in one.jobs)]

    def _look(self, wanted: list[tuple[str, str]]) -> None:
        with ThreadPoolExecutor(6) as together:
            list(together.map(lambda pair: self._look_at(*pair), wanted))

    def _look_at(self, kind: str, object_id: str) -> None:
        try:
            self._shop.look("final", kind, object_id, patience=20.0)
        except NoAnswer as lost:
            self.notes.append(f"{kind} {object_id} does not answer: {lost}")

    def _caller(self, ports: list[int], authorization: str) -> Caller:
        return Caller(ports, self.history, {"Authorization": authorization}, self.dice)


def _object_of(violation: Violation) -> tuple[str, str]:
    what, _, object_id = violation.about.rpartition(" ")
    return ("job" if what.endswith("job") else "order"), object_id
