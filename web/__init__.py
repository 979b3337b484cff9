"""The HTTP side: parse, authorise, one transaction, hint, answer. `flask --app web run`, or `web:app` under WSGI."""

from __future__ import annotations

import gc
from typing import Any

gc.set_threshold(5_000)  # the usual 700 slow the start; to collect 50,000 stops all threads for 25 ms


def create_app() -> Any:
    """The Flask application as a program runs it: settings read and checked, logs and monitoring set up.

    Raises:
        SystemExit: a setting is wrong or missing; its one line goes to standard error.
    """
    from web.factory import start

    return start()


def __getattr__(name: str) -> Any:
    # `web:app` is built when it is first asked for, so importing `web` reads and opens nothing.
    if name != "app":
        raise AttributeError(f"module 'web' has no attribute {name!r}")
    globals()["app"] = app = create_app()
    return app
