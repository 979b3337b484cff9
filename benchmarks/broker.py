"""A Redis of the benchmark's own: the broker of every side."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from benchmarks.processes import Program, ProgramFailed, free_port, listens


class Redis:
    """A redis-server on a free port, the same for all: nothing is written to disk.

    That favours the peers, whose queue then dies with it; the product's is in the database.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise ProgramFailed("redis-server is not installed")
        self.port = free_port()
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.program = Program("redis", [*command, "--dir", str(folder)], {}, folder)
        self.program.wait_for(lambda: listens(self.port), 10)

    def url(self, database: int = 0) -> str:
        """The address of one of its numbered databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def empty(self) -> None:
        """Remove everything in it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as link:
            link.sendall(b"FLUSHALL\r\n")
            if link.recv(16) != b"+OK\r\n":
                raise ProgramFailed("redis-server did not empty itself")
