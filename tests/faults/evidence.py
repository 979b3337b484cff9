"""What is run for the evidence: single cases, all crash points, all mutants, and all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.faults import mutants as mutated
from tests.faults import points
from tests.faults.cases import CASES, CRASHES, plan_of
from tests.faults.injections import LONGEST_ABSENCE, LONGEST_TURN, armed_in_turn
from tests.faults.mutants import MUTANTS
from tests.faults.report import Row
from tests.faults.run import LONGEST_LOAD, PATIENCE, Result, Run, always
from tests.faults.world import World

COMMAND = "python -m tests.faults"
USUAL_BROKER = {"sqlite": "filesystem", "postgresql": "redis"}


def one(
    folder: Path,
    name: str,
    database: str,
    broker: str | None,
    seed: int,
    operations: int | None = None,
    patience: float = PATIENCE,
) -> Row:
    """Run a case once; a database or broker that it cannot have is replaced by one that it can."""
    case = CASES[name]
    database = database if database in case.databases else case.databases[0]
    broker = broker or (case.brokers[0] if case.brokers else USUAL_BROKER[database])
    wanted = operations or case.operations
    where = f"--database {database} --broker {broker}"
    replay = f"{COMMAND} --case {name} {where} --seed {seed} --operations {wanted}"
    with World(plan_of(case, database, broker), folder / f"{name}-{database}-{broker}-{seed}") as world:
        run = Run(world, seed, name, patience)
        run.warm_up()
        run.plan_stripe(**case.stripe)
        until = run.broken_enough if case.whole else always
        seconds = run.load(wanted, case.habits, case.clients, case.faults, until)
        run.plan_stripe()
        result = run.judge(seconds)
    return Row(name, f"{database} {broker}", result, replay)


def crash_points(
    folder: Path,
    database: str,
    broker: str | None,
    seeds: Sequence[int],
    only: Sequence[str] | None = None,
    together: bool = False,
) -> Iterator[Row]:
    """Die at every crash point (or only at some), once for each seed; one row per point, or one of all together."""
    broker = broker or USUAL_BROKER[database]
    plan = plan_of(CRASHES, database, broker)
    home = folder / f"crash-points-{database}-{broker}"
    plan = replace(plan, extra={"CRASH_POINT": "*", "CRASH_STATE": str(home / "crashes")})
    with World(plan, home) as world:
        Run(world, 0, "crash-points").warm_up()
        wanted = only or points.names()
        for group in [wanted] if together else [[point] for point in wanted]:
            results = [_crash(world, group, seed) for seed in seeds]
            bad = [str(seed) for seed, result in zip(seeds, results, strict=True) if not _clean(result)]
            which = f"--points {' '.join(group)} --seeds {' '.join(bad or map(str, seeds))}"
            how = f"--database {database} --broker {broker}" + (" --together" if together else "")
            name = f"crash at {group[0]}" if len(group) == 1 else f"crash at {len(group)} points"
            replay = f"{COMMAND} --case crash-points {which} {how}"
            yield Row(name, f"{database} {broker}", Result.sum(results), replay, runs=len(results))


def _crash(world: World, group: Sequence[str], seed: int) -> Result:
    run = Run(world, seed, group[0])
    run.plan_stripe(**CRASHES.stripe)
    seconds = run.load(
        CRASHES.operations,
        CRASHES.habits,
        CRASHES.clients,
        [armed_in_turn(group)],
        # A point that was not armed yet looks like one where somebody died.
        until=lambda: run.broken_enough() and all(world.crashed(point) for point in group),
        longest=LONGEST_LOAD + (LONGEST_TURN + LONGEST_ABSENCE) * len(group),
    )
    for point in group:
        died_at = world.crashed(point)
        if died_at is None:
            run.broken.append(f"nobody passed {point}")
        else:
            run.history.fault("crash", point, died_at)
    world.disarm(*group)
    run.plan_stripe()
    return run.judge(seconds)


def _clean(result: Result) -> bool:
    return not result.violations and not result.broken


def mutants(folder: Path, only: Sequence[str] | None, seeds: Sequence[int]) -> Iterator[Row]:
    """Remove each guard in a copy of the tree; a row holds when one of the seeds showed that it was missing."""
    for name in only or MUTANTS:
        yield mutant_row(folder, name, seeds)


def mutant_row(folder: Path, name: str, seeds: Sequence[int]) -> Row:
    """Try a mutant with one seed after the other until it shows."""
    mutant = MUTANTS[name]
    copy = folder / f"mutant-{name}"
    mutated.copy(mutant, copy)
    replay = f"{COMMAND} --case mutants --points {name}"
    result = Result(0, 0.0, [], [])
    for seed in seeds:
        result = mutated.run(mutant, copy, seed)
        if mutated.seen(mutant, result):
            break
    return Row(f"without {name}", f"{mutant.database} {mutant.case}", result, replay, wanted=False)
