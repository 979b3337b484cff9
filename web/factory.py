"""Builds the Flask application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from core import database, get_logger, logs, monitor, settings
from core.database import DatabaseUnavailable, SchemaOutdated
from web import auth, envelope, pages, problems
from web.keys import keys
from web.operate import findings as findings_commands
from web.operate import jobs as jobs_commands
from web.operate import prove_command
from web.parsing import MAX_BODY
from web.review import payments as payments_commands
from web.review import refunds as refunds_commands
from web.views import findings, jobs, monitoring, orders, statistics, webhooks

TAGS = (orders.routes, jobs.routes, statistics.routes, findings.routes, webhooks.routes, monitoring.routes)

logger = get_logger(__name__)


class Application(Flask):
    """Flask without coroutines: no view is one, and asking every function on every request takes its time."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """`func`, which is synchronous."""
        return func


def start() -> Flask:
    """Build it as a program does: settings read and checked, logs and monitoring on, the bootstrap key in place.

    Raises:
        SystemExit: a setting is wrong or missing, or the database lacks the schema.
    """
    settings.start()
    logs.configure()
    monitor.start()
    _check_schema()
    app = build()
    auth.ensure_bootstrap_key()
    return app


def _check_schema() -> None:
    try:
        database.check_schema()
    except SchemaOutdated as error:
        raise SystemExit(f"counterfoil: {error}") from None
    except DatabaseUnavailable as error:
        logger.warning("The schema could not be looked at yet", extra={"error": str(error)})


def build() -> Flask:
    """Build it from the settings as they are, without reading files or the database."""
    app = Application("web", static_folder="static", template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.merge_slashes = False  # a redirect would turn a POST into a GET
    app.url_map.strict_slashes = False
    operations = [operation for tag in TAGS for operation in tag.operations]
    for tag in TAGS:
        tag.register(app)
    pages.register(app, operations)
    problems.register(app)
    browser_paths = frozenset(operation.path for operation in operations if operation.browser)
    envelope.register(app, browser_paths)
    groups = (keys, jobs_commands, findings_commands, payments_commands, refunds_commands)
    for command in (*groups, prove_command):
        app.cli.add_command(command)
    return app
