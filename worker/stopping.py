"""The word that this worker stops, heard in every process that it forked."""

from __future__ import annotations

import mmap
import struct
import time

_MOMENT = struct.Struct("d")


class Stopping:
    """Set once, by the process that got the signal; its forked children see it, since they share the memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _MOMENT.size)

    def set(self) -> None:
        """Say it. Takes no lock, so that a signal handler may."""
        if not self.is_set():
            _MOMENT.pack_into(self._memory, 0, time.monotonic())

    def is_set(self) -> bool:
        """Whether it was said."""
        return self._said_at() > 0

    def seconds(self) -> float:
        """How long ago it was said, 0 when it was not."""
        said_at = self._said_at()
        return time.monotonic() - said_at if said_at else 0.0

    def _said_at(self) -> float:
        found: float = _MOMENT.unpack_from(self._memory)[0]
        return found
