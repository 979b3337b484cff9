"""Stripe's error envelopes, and which of them an idempotency key remembers."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]


class ApiError(Exception):
    """An answer that is not 200.

    Args:
        status: HTTP status.
        message: what Stripe would tell a person.
        type: Stripe's error type.
        code: Stripe's error code, if the error has one.
        param: the parameter at fault, in bracket notation.
        executed: the endpoint had begun executing: what it wrote is kept and its idempotency key replays
            this answer. Validation failures, 401, 409 and 429 are not remembered
            (docs.stripe.com/api/idempotent_requests).
        retry: the Stripe-Should-Retry header; None sends none.
        headers: further response headers.
        **fields: further members of the error object.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = False,
        retry: bool | None = False,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.headers = dict(headers or {})
        if retry is not None:
            self.headers["Stripe-Should-Retry"] = "true" if retry else "false"
        error: JSON = {"message": message, "type": type}
        if code:
            error |= {"code": code, "doc_url": "https://stripe.com/docs/error-codes/" + code.replace("_", "-")}
        if param:
            error["param"] = param
        self.error: JSON = error | fields

    def body(self) -> JSON:
        """The JSON envelope."""
        return {"error": self.error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request refused before it did anything."""
    return ApiError(400, message, param=param, code=code)


def no_such(kind: str, object_id: object, param: str = "id") -> ApiError:
    """The named object does not exist: 404 when it is the one addressed, 400 when a parameter names it."""
    return ApiError(
        404 if param in {"id", "intent"} else 400,
        f"No such {kind}: '{object_id}'",
        code="resource_missing",
        param=param,
        executed=True,
    )


def unexpected_state(message: str, intent: JSON) -> ApiError:
    """The PaymentIntent's status does not allow what was asked."""
    return ApiError(400, message, code="payment_intent_unexpected_state", executed=True, payment_intent=intent)


def unknown_url(method: str, path: str) -> ApiError:
    """No such endpoint."""
    return ApiError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
    )


def server_error() -> ApiError:
    """Stripe's own failure. Remembered when it came after the effect."""
    return ApiError(500, "An unknown error occurred.", type="api_error", retry=None)


def key_in_use(key: str | None) -> ApiError:
    """Another request with the same idempotency key is still executing."""
    return ApiError(
        409,
        f"There is currently another in-progress request using this Idempotency Key: {key}. Please try again later.",
        type="idempotency_error",
        code="idempotency_key_in_use",
        retry=True,
    )


def rate_limited(retry_after: int) -> ApiError:
    """Too many requests."""
    return ApiError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        retry=True,
        headers={"Retry-After": str(retry_after)},
    )


def invalid_key(key: str) -> ApiError:
    """The API key is not one of this account's."""
    return ApiError(401, f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:] if len(key) > 16 else ''}")
