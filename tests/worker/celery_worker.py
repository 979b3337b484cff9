"""A real worker: `celery -A worker worker` in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds that only a hung worker takes to end."""


class CeleryWorker:
    """Starts with the environment as it is; ends with the block, whatever happened in it.

    Args:
        pool: `threads`, `gevent` or `prefork`.
        log: where it writes its log.
        queues: which it serves, separated by commas; all of them without it.
        variables: settings on top of the environment.
    """

    def __init__(self, pool: str, log: Path, queues: str = "", **variables: str) -> None:
        options = ["-P", pool, "-c", "4", *(["-Q", queues] if queues else [])]
        quiet = ["--without-gossip", "--without-mingle"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--quiet", "-A", "worker", "worker", *options, *quiet],
                cwd=ROOT,
                env={**os.environ, **variables},
                stdout=output,
                stderr=output,
                start_new_session=True,  # its children end with it
            )

    def died(self) -> int:
        """Wait for its end; returns the exit status, negative for the signal that ended it."""
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """Ask it to finish what runs (SIGTERM); returns the exit status."""
        self._process.terminate()
        return self.died()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # all of it ended by itself
        finally:
            self._process.wait(PATIENCE)
