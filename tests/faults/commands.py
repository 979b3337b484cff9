"""`python -m tests.faults.commands worker ...`, `... beat`: Celery's own commands, with its other ones left out.

The `celery` command imports all of its commands, Flower and a REPL with them: a third of each start, and under kills
two cores do little but start programs.
"""

from __future__ import annotations

import sys

from celery import maybe_patch_concurrency

maybe_patch_concurrency()  # as `celery` does it: `-P gevent` patches the standard library before anything uses it

from celery.bin.base import CLIContext  # noqa: E402
from celery.bin.beat import beat  # noqa: E402
from celery.bin.worker import worker  # noqa: E402

from tests.faults import programs  # noqa: E402

if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    context = CLIContext(app=programs.app, no_color=True, workdir=None, quiet=True)
    {"worker": worker, "beat": beat}[name].main(args=rest, prog_name=name, obj=context)
