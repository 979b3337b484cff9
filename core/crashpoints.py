"""Named places between two durable effects, where the fault tests end the process as `kill -9` would.

Nothing happens unless `CRASH_POINT` names one of them (or all: `*`), and `APP_ENV=prod` refuses to start with it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_armed = os.environ.get("CRASH_POINT")


def crash_point(name: str) -> None:
    """End this process here if `CRASH_POINT` is `name`, `CRASH_TIMES` times (1) in all processes together.

    Args:
        name: unique in the code. The processes count together in the folder `CRASH_STATE`.
    """
    if _armed in (name, "*") and _our_turn(name):
        os.kill(os.getpid(), signal.SIGKILL)


def _our_turn(name: str) -> bool:
    folder = Path(os.environ["CRASH_STATE"])
    for turn in range(int(os.environ.get("CRASH_TIMES", "1"))):
        try:
            (folder / f"{name}.{turn}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False
