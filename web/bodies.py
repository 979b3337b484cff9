"""What requests carry. Sizes are bounded here; what an amount may be in a currency is `core.money`'s."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from core.ids import is_id
from core.money import LARGEST_AMOUNT
from web.parsing import Model

# No control characters: PostgreSQL stores no NUL, and a line break in a name forges a line of a log.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
MAX_DAYS = 366


def _uuid(value: object) -> object:
    if isinstance(value, str) and not is_id(value):
        raise ValueError("must be an id as answered by this service")
    return value


def _day(value: object) -> object:
    if isinstance(value, str) and len(value) == len("2026-01-31"):
        return date.fromisoformat(value)
    raise ValueError("must be a date such as 2026-01-31")


Id = Annotated[str, BeforeValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z]{3}$", to_lower=True),
    Field(description="ISO 4217", examples=["usd"]),
]
Amount = Annotated[int, Field(gt=0, le=LARGEST_AMOUNT, description="minor units", examples=[1050])]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
Email = Annotated[
    str,
    StringConstraints(
        max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s.\x00-\x1f\x7f]+(\.[^@\s.\x00-\x1f\x7f]+)+$"
    ),
    Field(json_schema_extra={"format": "email"}),
]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PRINTABLE)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=_PRINTABLE)]
MetadataValue = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Day = Annotated[date, BeforeValidator(_day)]


class NewUser(Model):
    """A customer, found by email address or added."""

    email: Email
    full_name: Name | None = None


class NewItem(Model):
    """One line of an order."""

    name: Name
    unit_amount: Amount
    quantity: Annotated[int, Field(ge=1, le=10_000)]


class NewOrder(Model):
    """An order to place. The total is computed here, never taken from a client."""

    user_id: Id | None = None
    user: NewUser | None = None
    currency: Currency
    items: Annotated[list[NewItem], Field(min_length=1, max_length=100)]
    reference: Annotated[Reference | None, Field(description="the shop's own order number, unique")] = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(default_factory=dict, max_length=20)]

    @model_validator(mode="after")
    def _one_user(self) -> Self:
        if (self.user_id is None) == (self.user is None):
            raise ValueError("give either user_id or user")
        return self


class NewCheckout(Model):
    """A checkout needs nothing but its order."""


class NewRefund(Model):
    """A refund; without an amount, of all that is left."""

    amount: Amount | None = None
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None


class NewRecompute(Model):
    """A rebuild of the statistics needs nothing."""


class Period(Model):
    """Days to show, both included."""

    from_: Annotated[Day, Field(alias="from", examples=["2026-01-01"])]
    to: Annotated[Day, Field(examples=["2026-01-31"])]
    currency: Currency | None = None

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not 0 <= (self.to - self.from_).days < MAX_DAYS:
            raise ValueError(f"from must not be after to, and at most {MAX_DAYS} days are shown")
        return self


class FindingsQuery(Model):
    """Which findings to list."""

    status: Literal["open", "repaired", "closed", "all"] = "open"
