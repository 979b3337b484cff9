"""A Redis of the test's own, which it may stop, freeze and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.servers import require


class PrivateRedis:
    """A redis-server process on a free port, without persistence.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self._program = require("redis-server")
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16) == b"+PONG\r\n"
        except OSError:
            return False

    def empty(self) -> None:
        """Forget everything."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
            link.sendall(b"FLUSHALL\r\n")
            assert link.recv(16) == b"+OK\r\n"

    def stop(self) -> None:
        """Kill it; everything in it is lost."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Have it accept connections and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)
