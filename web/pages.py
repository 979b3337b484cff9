"""Pages for people: what runs, and how to call it. Rendered here, no script, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from flask import Flask, Response, redirect, render_template, request
from werkzeug.wrappers import Response as Redirect

from core import settings
from web import health
from web.routing import Operation


def register(app: Flask, operations: Sequence[Operation]) -> None:
    """Add the pages and the OpenAPI document to `app`."""

    @cache
    def document() -> dict[str, Any]:
        from web import openapi  # building it takes a while, and most processes are never asked for it

        return openapi.build(operations)

    @app.get("/openapi.json")
    def show_openapi() -> Response:
        return Response(json.dumps(document(), indent=1), mimetype="application/json")

    @app.get("/docs")
    def show_docs() -> str:
        return render_template("docs.html", document=document(), tags=_by_tag(document()), fields=fields)

    @app.get("/problems/<slug>")
    def show_problem(slug: str) -> Redirect:
        """A problem's `type` leads to what is said about problems."""
        return redirect("/docs#problems", 303)

    @app.get("/")
    def show_start() -> str:
        host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
        loaded = settings.load()
        return render_template(
            "start.html",
            health=health.look(),
            facts=_facts(loaded),
            flower=f"{request.scheme}://{host}:{loaded.flower_port}/",
        )


def fields(document: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a schema's field table: name, type in words, whether it is required, what it means."""
    schema = _resolved(document, schema)
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": _words(document, field),
            "required": name in required,
            "about": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _by_tag(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append({**operation, "path": path, "method": method.upper()})
    return found


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _words(document: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_words(document, choice) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_words(document, schema['items'])}"
    return " ".join((str(schema.get("type", "any")), *_limits(schema)))


def _limits(schema: dict[str, Any]) -> Iterable[str]:
    if "format" in schema:
        yield f"({schema['format']})"
    least = schema.get("minimum", schema.get("minLength", schema.get("exclusiveMinimum")))
    most = schema.get("maximum", schema.get("maxLength", schema.get("maxProperties")))
    if most is not None:
        yield f"up to {most}" if least is None else f"from {least + ('exclusiveMinimum' in schema)} to {most}"


def _facts(loaded: settings.Settings) -> dict[str, str]:
    return {
        "Environment": loaded.app_env,
        "Database": loaded.database_url.partition(":")[0].partition("+")[0],
        "Broker": loaded.broker_url.partition(":")[0],
        "Cache": "Redis" if loaded.redis_enabled else "off",
        "Stripe": _stripe(loaded),
        "Sentry": "on" if loaded.sentry_enabled else "off",
    }


def _stripe(loaded: settings.Settings) -> str:
    if not loaded.stripe_enabled:
        return "off: checkouts end in test data"
    return f"on, at {loaded.stripe_api_base}" if loaded.stripe_api_base else "on"
