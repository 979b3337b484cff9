"""Private servers on loopback that may be killed, emptied and filled: never the machine's own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

PATIENCE = 40.0
POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgreSQL:
    """A cluster of our own, without fsync: it survives the death of its processes, not of the machine.

    Args:
        folder: where its files go; the server's user must be able to enter it.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._bin, self._data = POSTGRESQL[-1], folder / "postgresql"
        self._log = folder / "postgresql.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._data.mkdir(parents=True)
        self._user = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._user = pwd.getpwnam("postgres").pw_uid
            shutil.chown(self._data, self._user)
        options = ("--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")
        status = self._spawn("initdb", *options).wait(PATIENCE)
        if status:
            raise RuntimeError(f"initdb ended with {status}: see {self._log}")

    def start(self) -> None:
        """Start it and wait until it answers; after a kill the dead one's memory may still be in use for a moment."""
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 300,
            "fsync": "off", "shared_buffers": "64MB", "autovacuum": "off", "log_min_messages": "fatal",
        }  # fmt: skip
        flags = [f"-c{name}={value}" for name, value in settings.items()]
        give_up = time.monotonic() + PATIENCE
        while True:
            self._process = self._spawn("postgres", *flags)
            while self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.05)
            if time.monotonic() > give_up:
                raise TimeoutError(f"postgres did not start: see {self._log}")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to all of its processes at once: no shutdown, recovery from the log at the next start."""
        if self._process:
            for pid in descendants(self._process.pid):  # each backend leads a process group of its own
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop it at once; nothing of it is needed any more."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)
            self._process = None

    def say(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement as the superuser, outside of any transaction."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        try:
            self.say("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _spawn(self, program: str, *flags: str) -> subprocess.Popen[bytes]:
        command = [str(self._bin / program), "-D", str(self._data), *flags]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, user=self._user, cwd=self._data
            )


def _children(pid: int) -> list[int]:
    """Direct children that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def descendants(pid: int) -> list[int]:
    """The process and everything below it that is alive."""
    return [pid, *(lower for child in _children(pid) for lower in descendants(child))]


class RabbitMQ:
    """A virtual host of our own on the machine's RabbitMQ, deleted at the end.

    Args:
        name: of the virtual host.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.url = f"amqp://guest:guest@127.0.0.1:5672/{name}"

    def start(self) -> None:
        """Make it."""
        self._control("add_vhost", self._name)
        self._control("set_permissions", "-p", self._name, "guest", ".*", ".*", ".*")

    def stop(self) -> None:
        """Delete it with all its queues."""
        self._control("delete_vhost", self._name)

    def hang_up(self) -> None:
        """Close all connections of the virtual host at the server."""
        self._control("close_all_connections", "--vhost", self._name, "fault")

    def _control(self, *arguments: str) -> None:
        subprocess.run(["rabbitmqctl", "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S607
