"""One stack per STATE_DIR."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.refusal import Refused


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system frees it when this process ends, however it ends.

    Raises:
        Refused: another stack runs there.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state_dir / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = os.read(descriptor, 32).decode().strip()
            raise Refused(
                f"STATE_DIR={state_dir} is in use by process {running}; stop that stack or choose another"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
