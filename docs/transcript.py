"""Runs the commands of the README's transcript against a running stack, and writes down what they answer.

    python3 -m docs.transcript [INSTEAD=OWN ...]

Start `make run` with an empty var/ for numbers like the README's. Arguments replace parts of the commands, such as
127.0.0.1:8000=127.0.0.1:9000.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import IO, cast

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"(?<=<!-- transcript: see docs/transcript.py -->\n```console\n).*?(?=```\n)", re.DOTALL)
PATIENCE_SECONDS = 60.0
"""A webhook takes a moment: what only reads is asked again until it answers as written."""
VARYING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(?:pi|req)_\w+|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<='id': )\d+"
)


@dataclass(frozen=True)
class Step:
    """A command, and what it answered."""

    command: str
    answer: str

    @property
    def only_reads(self) -> bool:
        """Whether it may be repeated."""
        return self.command.startswith("ask $SHOP") and not re.search(r" -[dX] ", self.command)

    def answers_like(self, other: Step) -> bool:
        """Whether only ids and times differ."""
        return VARYING.sub("*", self.answer) == VARYING.sub("*", other.answer)


def written() -> list[Step]:
    """The steps as the README shows them."""
    found = BLOCK.search(README.read_text())
    if found is None:
        raise SystemExit("README.md has no transcript between its markers")
    steps: list[Step] = []
    for line in found.group().splitlines(keepends=True):
        if line.startswith("$ "):
            steps.append(Step(line[2:], ""))
        elif line.startswith("    "):  # a command's next line
            steps[-1] = replace(steps[-1], command=steps[-1].command + line)
        else:
            steps[-1] = replace(steps[-1], answer=steps[-1].answer + line)
    return steps


def run(steps: Sequence[Step], instead: Mapping[str, str]) -> Iterator[Step]:
    """Run the commands in one shell.

    Args:
        steps: what to run, and what is expected to be answered.
        instead: parts of the commands (an address, a path) and what this run needs in their place.
    """
    with subprocess.Popen(
        ["sh"],  # noqa: S607 - whichever the reader has
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=README.parent,
    ) as shell:
        for step in steps:
            deadline = monotonic() + PATIENCE_SECONDS
            done = _ask(shell, step, instead)
            while step.only_reads and not done.answers_like(step) and monotonic() < deadline:
                sleep(0.1)
                done = _ask(shell, step, instead)
            yield done
        cast("IO[str]", shell.stdin).close()


def _ask(shell: subprocess.Popen[str], step: Step, instead: Mapping[str, str]) -> Step:
    command = step.command
    for usual, own in instead.items():
        command = command.replace(usual, own)
    entrance, exit_ = cast("IO[str]", shell.stdin), cast("IO[str]", shell.stdout)
    entrance.write(f"{command}echo '<end>'\n")
    entrance.flush()
    answer = ""
    for line in exit_:
        answer += line
        if answer.endswith("<end>\n"):
            break
    return Step(step.command, answer.removesuffix("<end>\n"))


def rewrite(steps: Sequence[Step]) -> None:
    """Put the steps into the README."""
    block = "".join(f"$ {step.command}{step.answer}" for step in steps)
    README.write_text(BLOCK.sub(lambda _: block, README.read_text(), count=1))


if __name__ == "__main__":
    rewrite([*run(written(), dict(pair.split("=", 1) for pair in sys.argv[1:]))])
