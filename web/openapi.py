"""The OpenAPI 3.1 document, built from the same rows and models that answer requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web.answers import Problem
from web.examples import EXAMPLES
from web.headers import PREFER, REQUEST_ID, Header
from web.problems import MEDIA_TYPE
from web.routing import Content, Operation, Text

REFERENCE = "#/components/schemas/{model}"
ABOUT = """Takes checkouts, refunds and Stripe webhooks, does the work in jobs, and can prove what happened.

Amounts are integers of minor units (1050 is 10.50 USD). Errors are RFC 9457 `application/problem+json` with a
stable `type`. An accepted job is never lost: repeat a request with the same Idempotency-Key as often as you like."""


def build(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document, as JSON-able values."""
    operations = list(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(template(operation.path), {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Counterfoil", "version": _version(), "description": ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "responses": {_problem_name(status): _problem(status) for status in _statuses(operations)},
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key with the scopes needed"},
                "checkoutToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The `checkout_token` of an order: for that order only, for 24 hours",
                },
            },
        },
    }


def template(path: str) -> str:
    """A Flask rule as a path of OpenAPI."""
    return re.sub(r"<(\w+)>", r"{\1}", path)


def problems_of(operation: Operation) -> list[int]:
    """Every problem status that the operation can answer: its own, and those that its needs imply."""
    found = {*operation.problems, 500, 503}
    if operation.scope is not None:
        found |= {401, 403}
    if operation.body is not None:
        found |= {400, 413}
    if isinstance(operation.body, type):
        found |= {415, 422}
    if operation.query is not None:
        found.add(422)
    return sorted(found - {status for status, content in operation.answers.items() if content})


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": (operation.view.__doc__ or "").strip() + _scope_words(operation),
        "parameters": [*_parameters(operation)],
        "responses": {
            **{str(status): _answer(status, content, operation) for status, content in operation.answers.items()},
            **{
                str(status): {"$ref": f"#/components/responses/{_problem_name(status)}"}
                for status in problems_of(operation)
            },
        },
        "security": [],
    }
    if operation.scope is not None:
        # Scopes of a bearer key: OpenAPI 3.1 lets any scheme list the roles that are needed.
        found["security"] = [{"apiKey": [operation.scope]}, *([{"checkoutToken": []}] if operation.browser else [])]
    if operation.body is not None:
        required = isinstance(operation.body, Text) or any(
            f.is_required() for f in operation.body.model_fields.values()
        )
        found["requestBody"] = {"required": required, "content": _content(operation.body)}
    return found


def _scope_words(operation: Operation) -> str:
    if operation.scope is None:
        return ""
    return f"\n\nNeeds the scope `{operation.scope}`" + (
        ", or the order's checkout token." if operation.browser else "."
    )


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"<(\w+)>", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    if operation.query is not None:
        schema = operation.query.model_json_schema()
        for name, field in schema["properties"].items():
            required = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": field}
    for header in (*operation.headers, REQUEST_ID):
        yield _header(header)


def _header(header: Header) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "required": header.required,
        "description": header.description,
        "schema": {"type": "string", "pattern": header.pattern},
        "example": header.example,
    }


def _answer(status: int, content: tuple[Content, ...], operation: Operation) -> dict[str, Any]:
    headers = {"X-Request-Id": {"schema": {"type": "string"}}}
    if status in (201, 202):
        headers["Location"] = {"schema": {"type": "string"}}
    if PREFER in operation.headers:
        headers["Preference-Applied"] = {"schema": {"type": "string"}}
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": headers}
    if content:
        found["content"] = _content(*content)
    return found


def _content(*contents: Content) -> dict[str, Any]:
    found: dict[str, Any] = {text.media_type: _text(text) for text in contents if isinstance(text, Text)}
    models = [model for model in contents if isinstance(model, type)]
    if models:
        references = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
        schema = references[0] if len(references) == 1 else {"anyOf": references}
        found["application/json"] = {"schema": schema, "example": EXAMPLES[models[0]]}
    return found


def _text(text: Text) -> dict[str, Any]:
    kind = "object" if text.media_type == "application/json" else "string"
    example = {} if text.example is None else {"example": text.example}
    return {"schema": {"type": kind, "description": text.description}, **example}


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    models: dict[type[BaseModel], None] = {Problem: None}
    for operation in operations:
        parts = [operation.body, *(part for content in operation.answers.values() for part in content)]
        models.update((part, None) for part in parts if isinstance(part, type))
    # By how each is used: what is read may leave defaults out, what is written holds every field.
    modes = [(model, "serialization" if model.__module__ == Problem.__module__ else "validation") for model in models]
    _, schema = models_json_schema(modes, ref_template=REFERENCE)  # type: ignore[arg-type]  # str for Literal
    return dict(sorted(schema["$defs"].items()))


def _statuses(operations: list[Operation]) -> list[int]:
    return sorted({status for operation in operations for status in problems_of(operation)})


def _problem_name(status: int) -> str:
    return f"Problem{status}"


def _problem(status: int) -> dict[str, Any]:
    headers = {"X-Request-Id": {"schema": {"type": "string"}}}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if status == 503:
        headers["Retry-After"] = {"schema": {"type": "integer"}}
    example = {**EXAMPLES[Problem], "status": status, "title": HTTPStatus(status).phrase}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}, "example": example}},
    }


def _version() -> str:
    try:
        return version("counterfoil")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0"
