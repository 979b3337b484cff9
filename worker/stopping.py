"""The word that this worker stops, heard in every process that it forked."""

from __future__ import annotations

import mmap


class Stopping:
    """Set once, by the process that got the signal; its forked children see it, since they share the byte."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Say it. Takes no lock, so that a signal handler may."""
        self._byte[0] = 1

    def is_set(self) -> bool:
        """Whether it was said."""
        return self._byte[0] == 1
