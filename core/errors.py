"""Errors named by what we do about them. A decline is an answer; a bug is any exception that is not one of these."""

from __future__ import annotations


class Retryable(Exception):
    """Nothing happened: try the same thing again later.

    Args:
        detail: one line for a person.
        delay: seconds to wait, or None for the widening default.
        spends_attempt: False when the other side asked us to wait (429) or our own configuration is
            wrong (401): neither says anything about this job.
        exact: the delay is this job's alone: nothing need be added that parts it from others.
    """

    def __init__(
        self, detail: str, delay: float | None = None, spends_attempt: bool = True, exact: bool = False
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.delay = delay
        self.spends_attempt = spends_attempt
        self.exact = exact


class Uncertain(Exception):
    """It may have happened: look at the other side before repeating it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Permanent(Exception):
    """A final answer that repeating cannot change.

    The web turns it into problem+json, the worker into `job.error`; both carry these fields (RFC 9457).

    Args:
        detail: what is wrong and what to do about it, in one line.
        type: stable slug of the problem; the class's own when omitted.
        title: the problem's name; the class's own when omitted.
        status: HTTP status that answers for it; the class's own when omitted.
    """

    type = "permanent"
    title = "It cannot be done"
    status = 422

    def __init__(
        self, detail: str, type: str | None = None, title: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.type = type or self.type
        self.title = title or self.title
        self.status = status or self.status

    def as_problem(self) -> dict[str, str | int]:
        """The RFC 9457 members that every refusal shares."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}


class Invalid(Permanent):
    """The request is malformed (400)."""

    type, title, status = "invalid-request", "The request is not valid", 400


class Declined(Permanent):
    """The card was declined (402)."""

    type, title, status = "declined", "The payment was declined", 402


class NotFound(Permanent):
    """It does not exist, or belongs to another account (404)."""

    type, title, status = "not-found", "Not found", 404


class Conflict(Permanent):
    """The state of things does not allow it (409)."""

    type, title, status = "conflict", "Not possible in this state", 409


class Unprocessable(Permanent):
    """Well-formed, but it cannot mean what it says (422)."""

    type, title, status = "unprocessable", "The request cannot be carried out", 422


class Upstream(Permanent):
    """Stripe refused or stayed unreachable (502)."""

    type, title, status = "upstream", "Stripe did not carry it out", 502
