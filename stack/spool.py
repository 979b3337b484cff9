"""The embedded broker: Celery messages as files in one folder, on kombu's filesystem transport.

Three things differ from kombu's own. A message appears whole: kombu opens the final name and then writes, so
a reader can take an empty file (35 of 20,000 when measured), and the worker that did so stops. A full folder
is listed once per batch, not once per message. A message that nobody took in time is removed unread: events
for a Flower that was killed would pile up for ever, and the sweep has long since hinted at the job again.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty
from time import time
from typing import Any, ClassVar

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

KEPT_SECONDS = 60.0
"""A hint is repeated within 60 s while its job waits, so an older one is never the last."""

SUFFIX = ".msg"


def prepare(folder: Path) -> dict[str, Any]:
    """Make the broker's folders, and return the transport options that name them."""
    for part in (folder / "messages", folder / "control"):
        part.mkdir(parents=True, exist_ok=True)
    messages = str(folder / "messages")
    return {
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(folder / "control"),
    }


class Channel(filesystem.Channel):
    """A message's name is `<milliseconds since 1970>_<unique>.<queue>.msg`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listed: dict[str, deque[str]] = {}

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:
        folder = Path(self.data_folder_out)
        name = f"{int(time() * 1000):013d}_{uuid.uuid4().hex}"
        part = folder / f"{name}.part"
        part.write_text(dumps(payload), encoding="utf-8")
        part.rename(folder / f"{name}.{queue}{SUFFIX}")

    def _get(self, queue: str) -> Any:
        listed = self._listed.setdefault(queue, deque())
        if not listed:
            listed.extend(self._waiting(queue))
        while listed:
            text = self._take(Path(self.data_folder_in) / listed.popleft())
            if text is not None:
                return loads(text)
        raise Empty

    def _waiting(self, queue: str) -> list[str]:
        names = sorted(os.listdir(self.data_folder_in))
        oldest = f"{int((time() - KEPT_SECONDS) * 1000):013d}"
        for name in names:
            if name >= oldest:
                break
            with suppress(FileNotFoundError):  # another reader was faster
                (Path(self.data_folder_in) / name).unlink()
        return [name for name in names if name >= oldest and name.partition(".")[2] == queue + SUFFIX]

    def _take(self, message: Path) -> str | None:
        mine = message.with_suffix(f".taken-{os.getpid()}")
        try:
            message.rename(mine)  # of several readers one succeeds
        except FileNotFoundError:
            return None
        text = mine.read_text(encoding="utf-8")
        mine.unlink()
        return text

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        table = self._exchange_file(exchange)
        if not table.exists():
            self._create_empty(table)
        super()._queue_bind(exchange, routing_key, pattern, queue)

    def _create_empty(self, table: Path) -> None:
        """Create it with its first content in one step, where kombu shows others an empty file."""
        part = table.with_name(f"{uuid.uuid4().hex}.part")
        part.write_text("[]", encoding="utf-8")
        with suppress(FileExistsError):  # another process bound its queue first
            table.hardlink_to(part)
        part.unlink()


class Transport(filesystem.Transport):
    """Named in `celeryconfig.broker_transport`; the URL stays `filesystem://`."""

    Channel = Channel
    default_connection_params: ClassVar[dict[str, Any]] = {}  # no host to fall back to, and to warn about each time
