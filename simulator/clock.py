"""The simulator's clock: the machine's, plus an offset that survives a restart."""

from __future__ import annotations

import time

from simulator.store import Store


class Clock:
    """Every `created`, key expiry, timer and webhook timestamp reads this clock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.reading() as tx:
            row = tx.execute("SELECT value FROM meta WHERE name = 'clock_offset'").fetchone()
        self.offset = float(row[0]) if row else 0.0

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.offset

    def jump(self, seconds: float) -> float:
        """Move by `seconds` (negative: back); returns the new time."""
        with self._store.transaction() as tx:
            offset = self.offset + seconds
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('clock_offset', ?)", (str(offset),))
        self.offset = offset
        return self.now()

    def restore(self) -> None:
        """Back to the machine's time, after the store was cleared."""
        self.offset = 0.0
