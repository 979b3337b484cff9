from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from flask import Flask
from flask.testing import FlaskClient
from pydantic import BaseModel

from web.examples import EXAMPLES
from web.openapi import template
from web.parsing import Model
from web.routing import Operation


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return dict(client.get("/openapi.json").get_json())


def operations(app: Flask) -> Iterator[Operation]:
    for view in app.view_functions.values():
        if isinstance(view, Operation):
            yield view


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(child)


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    parsed = OpenAPI.model_validate(document).model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
    assert set(parsed["paths"]) == set(document["paths"])


def test_every_route_of_the_table_is_documented_and_nothing_else(app: Flask, document: dict[str, Any]) -> None:
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}

    assert documented == {(operation.method, template(operation.path)) for operation in operations(app)}
    assert documented == {
        ("POST", "/orders"),
        ("GET", "/orders/{order_id}"),
        ("POST", "/orders/{order_id}/checkout"),
        ("POST", "/orders/{order_id}/refunds"),
        ("GET", "/jobs/{job_id}"),
        ("POST", "/webhooks/stripe"),
        ("GET", "/users/{user_id}/statistics"),
        ("GET", "/statistics"),
        ("POST", "/statistics/recompute"),
        ("GET", "/findings"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    }


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {found["$ref"] for found in walk(document) if isinstance(found.get("$ref"), str)}
    assert references
    for reference in references:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_every_component_is_used(document: dict[str, Any]) -> None:
    used = {found["$ref"] for found in walk(document) if isinstance(found.get("$ref"), str)}
    for section in ("schemas", "responses"):
        assert {f"#/components/{section}/{name}" for name in document["components"][section]} <= used


def test_path_parameters_and_operation_ids_are_complete(document: dict[str, Any]) -> None:
    names = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            declared = {found["name"] for found in operation["parameters"] if found["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
    assert len(names) == len(set(names))


def test_every_operation_documents_its_problems_and_who_may_ask(document: dict[str, Any]) -> None:
    open_to_all = {"/webhooks/stripe", "/health/live", "/health/ready", "/metrics"}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "500" in operation["responses"]
            assert (operation["security"] == []) == (path in open_to_all)
            if path not in open_to_all:
                assert {"401", "403"} <= set(operation["responses"])
            if "requestBody" in operation:
                assert {"400", "413"} <= set(operation["responses"])


def test_unknown_fields_are_documented_as_refused(document: dict[str, Any]) -> None:
    for name in ("NewOrder", "NewItem", "NewRefund", "NewCheckout"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_an_example_is_what_its_model_allows(model: type[BaseModel]) -> None:
    example = EXAMPLES[model]

    checked = model.model_validate(example)

    if not issubclass(model, Model):
        assert checked.model_dump(mode="json", exclude_unset=True) == example


def test_every_body_and_answer_has_an_example(document: dict[str, Any]) -> None:
    for found in walk(document["paths"]):
        for media_type, content in found.get("content", {}).items():
            assert "example" in content or not media_type.endswith("json")
