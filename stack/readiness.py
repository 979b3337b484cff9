"""Whether a program answers 200, and waiting until it does. Run as a program, it is a container's check."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http.client import HTTPException
from threading import Event
from time import monotonic
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

POLL_SECONDS = 0.25

_direct = build_opener(ProxyHandler({}))  # a proxy of the machine does not know our loopback addresses


def ask(url: str) -> str | None:
    """None when the answer is 200, otherwise what stands in the way."""
    try:
        with _direct.open(url, timeout=5):
            return None
    except HTTPError as error:
        with error:
            return f"{error.code} {error.read(500).decode(errors='replace').strip()}"
    except (OSError, HTTPException) as error:
        return str(error)


def wait(url: str, seconds: float, stopping: Event, question: Callable[[str], str | None] = ask) -> str | None:
    """Ask until the answer is 200, for so many seconds, or until `stopping` is set.

    Returns:
        None when ready, otherwise what stood in the way at the last.
    """
    deadline = monotonic() + seconds
    while (problem := question(url)) and monotonic() < deadline and not stopping.wait(POLL_SECONDS):
        pass
    return problem


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1]))
