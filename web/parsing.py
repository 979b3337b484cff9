"""From bytes to a checked model: strict JSON, known fields only, nothing coerced."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from core.errors import Invalid
from web import strictjson
from web.problems import ValidationFailed

MAX_BODY = 512 * 1024
"""Bytes; above the largest order that the models let through, every character escaped."""
MAX_ERRORS = 20


class Model(BaseModel):
    """What a request may carry. Strict: a float or a bool is no integer, and an unknown field is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


M = TypeVar("M", bound=Model)


def read_body(most: int) -> bytes:
    """The request's body as it came.

    Raises:
        RequestEntityTooLarge: more than `most` bytes.
    """
    # One byte more than allowed: a body of unannounced length is cut there, and would pass for the whole.
    request.max_content_length = most + 1
    raw = request.get_data(cache=False)
    if len(raw) > most:
        raise RequestEntityTooLarge(f"a body is at most {most} bytes here")
    return raw


def parse_body(model: type[M]) -> M:
    """The request's JSON body as `model`. An empty body counts as `{}` where no field is required.

    Raises:
        UnsupportedMediaType: it is not application/json.
        RequestEntityTooLarge: more than `MAX_BODY` bytes.
        Invalid: it is not JSON.
        ValidationFailed: fields are missing, unknown or wrong.
    """
    raw = read_body(MAX_BODY)
    if not raw and not any(field.is_required() for field in model.model_fields.values()):
        return model()
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json")
    try:
        value = strictjson.loads(raw)
    except ValueError as error:
        raise Invalid(str(error), type="malformed-json") from None
    return validate(model, value)


def parse_query(model: type[M]) -> M:
    """The query string as `model`; a parameter given twice is refused.

    Raises:
        ValidationFailed: parameters are missing, unknown, repeated or wrong.
    """
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice:
        raise ValidationFailed([{"field": name[:100], "problem": "given more than once"} for name in twice])
    return validate(model, request.args.to_dict())


def validate(model: type[M], value: Any) -> M:
    """`value` as `model`.

    Raises:
        ValidationFailed: with one entry for each wrong field.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise ValidationFailed([_entry(item) for item in found[:MAX_ERRORS]]) from None


def _entry(error: Any) -> dict[str, str]:
    field = ".".join(str(part)[:100] for part in error["loc"]) or "body"
    return {"field": field, "problem": _WORDS.get(error["type"]) or error["msg"].removeprefix("Value error, ")}


# The common ones in our own words: pydantic's speak of Python.
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field here",
    "int_type": "must be an integer, without quotes, fraction or exponent",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be an array",
}
