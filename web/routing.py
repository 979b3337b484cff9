"""Routes that say what they need. What is documented is what is enforced, because both read the same row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, g
from pydantic import BaseModel

from core.errors import NotFound
from core.ids import is_id
from web.auth import authorise
from web.headers import Header
from web.parsing import Model, parse_body, parse_query
from web.whole import Whole

View = Callable[..., Response]


@dataclass(frozen=True)
class Text:
    """A body without a model of ours."""

    media_type: str
    description: str
    example: Any = None


Content = type[BaseModel] | Text


@dataclass(frozen=True)
class Operation:
    """A row of the HTTP table.

    Args:
        scope: the scope that a key needs, or None when no key is needed.
        browser: whether the checkout token of the order may do it too.
        body, query: models of what is sent; the view gets the checked value. A `Text` body it reads itself.
        headers: request headers that it understands.
        answers: what it answers, by status.
        problems: statuses of its own refusals, beside those that its other needs imply.
    """

    method: str
    path: str
    summary: str
    view: View
    tag: str
    scope: str | None = None
    browser: bool = False
    body: type[Model] | Text | None = None
    query: type[Model] | None = None
    headers: tuple[Header, ...] = ()
    answers: Mapping[int, tuple[Content, ...]] = field(default_factory=dict)
    problems: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Unique name, also the operationId."""
        return self.view.__name__

    def __call__(self, **ids: str) -> Response:
        """Authorise, parse, and hand over to the view."""
        g.operation = self
        # As they are stored and shown: SQLite compares letters, PostgreSQL does not.
        ids = {name: value.lower() for name, value in ids.items()}
        given: dict[str, Any] = dict(ids)
        if self.scope is not None:
            given["caller"] = caller = authorise(self.scope, self.browser)
            if "order_id" in ids:
                caller.check_order(ids["order_id"])
        for name, value in ids.items():
            if not is_id(value):
                raise NotFound(f"there is no such {name.removesuffix('_id')}")
        if isinstance(self.body, type):
            given["body"] = parse_body(self.body)
        if self.query is not None:
            given["query"] = parse_query(self.query)
        return self.view(**given)


class Routes:
    """The operations of one tag."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.operations: list[Operation] = []

    def get(self, path: str, summary: str, **needs: Any) -> Callable[[View], View]:
        """Register a view for GET; `needs` are the fields of `Operation`."""
        return self._add("GET", path, summary, needs)

    def post(self, path: str, summary: str, **needs: Any) -> Callable[[View], View]:
        """Register a view for POST; `needs` are the fields of `Operation`."""
        return self._add("POST", path, summary, needs)

    def register(self, app: Flask) -> None:
        """Add every operation to `app`."""
        for operation in self.operations:
            app.add_url_rule(operation.path, operation.name, operation, methods=[operation.method])

    def _add(self, method: str, path: str, summary: str, needs: Mapping[str, Any]) -> Callable[[View], View]:
        def keep(view: View) -> View:
            self.operations.append(Operation(method, path, summary, view, self.tag, **needs))
            return view

        return keep


def reply(answer: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`answer` as JSON."""
    return Whole(answer.model_dump_json(), status=status, mimetype="application/json", headers=headers)
