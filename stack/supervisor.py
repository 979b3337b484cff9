"""The programs of one stack: started together, kept running, stopped in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from stack.keeper import Backoff, Keeper, Say
from stack.program import Program


class Stack:
    """Keeps programs running until it is stopped; none of them outlives this process, however it ends.

    Args:
        stages: programs in the order to stop them, stage after stage; they start the other way round.
        say: where their output and news of them go: the speaker's name, then one line.
        backoff: makes the pauses before new starts, one per program.
    """

    def __init__(self, stages: Sequence[Sequence[Program]], say: Say, backoff: Callable[[], Backoff] = Backoff) -> None:
        self._lifeline, self._life = os.pipe()  # the writing end closes with this process: see `stack.leash`
        self._stages = [[Keeper(program, self._lifeline, say, backoff()) for program in stage] for stage in stages]

    def start(self) -> None:
        """Start all programs but those for later; returns at once."""
        self._start(later=False)

    def start_later(self) -> None:
        """Start those for later; returns at once."""
        self._start(later=True)

    def pid(self, name: str) -> int | None:
        """Process id of a program's present run, None between two runs.

        Raises:
            KeyError: there is no program of that name.
        """
        return {keeper.program.name: keeper for keeper in self._keepers()}[name].pid

    def stop(self) -> None:
        """Stop all programs, a stage at a time; takes at most the longest patience of each stage."""
        for stage in self._stages:
            with ThreadPoolExecutor(max_workers=len(stage)) as together:
                list(together.map(Keeper.stop, stage))
        self._close()

    def kill(self) -> None:
        """End all programs at once."""
        for keeper in self._keepers():
            keeper.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, *, later: bool) -> None:
        for stage in reversed(self._stages):
            for keeper in stage:
                if keeper.program.later == later:
                    keeper.start()

    def _keepers(self) -> list[Keeper]:
        return [keeper for stage in self._stages for keeper in stage]

    def _close(self) -> None:
        for end in (self._lifeline, self._life):
            os.close(end)
