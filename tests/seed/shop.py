"""The names that the contract's blocks leave to the application, with real parts behind them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ForeignKey, create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

from core import PaymentError

BLOCKS = Path(__file__).with_name("blocks.md")


class Base(DeclarativeBase):
    """The application's models."""


class User(Base):
    """A customer of the shop."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    username: Mapped[str]
    full_name: Mapped[str]
    stripe_customer_id: Mapped[str | None]

    def dict(self) -> dict[str, Any]:
        """As it is cached."""
        return {"id": self.id, "email": self.email, "username": self.username}


class Item(Base):
    """A line of an order; prices in major units, as the contract's example has them."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    price: Mapped[float]
    quantity: Mapped[int]


class Order(Base):
    """What was bought."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    total: Mapped[int]
    status: Mapped[str]
    payment_intent_id: Mapped[str | None]
    refund_id: Mapped[str | None]
    items: Mapped[list[Item]] = relationship()


class ExternalAPIError(Exception):
    """What the external API raises."""


def open_shop() -> Session:
    """A database with a user (123) and two orders (7 and 8); order 9 was never paid."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    session = Session(engine)
    session.add(User(id=123, email="jo@example.com", username="jo", full_name="Jo Doe"))
    session.add_all(
        Order(id=order_id, user_id=123, total=total, status="pending", items=[Item(price=10.5, quantity=2)])
        for order_id, total in ((7, 2100), (8, 900), (9, 500))
    )
    session.commit()
    return session


def names(db: Session, **more: Any) -> dict[str, Any]:
    """Everything that a block may mention without defining it."""
    user = db.get(User, 123)

    def refuse() -> None:
        raise ExternalAPIError("no answer")

    def fail() -> None:
        raise ValueError("no money")

    request = SimpleNamespace(client=SimpleNamespace(host="192.0.2.7"), headers={"user-agent": "curl"})
    return {
        "db": db, "func": func, "json": json, "User": User, "Order": Order, "PaymentError": PaymentError,
        "user": user, "current_user": user, "request": request, "count": 3, "sql": "SELECT 1",
        "e": ValueError("no card"), "amount": 1000, "retry_count": 2,
        "external_api": SimpleNamespace(call=refuse), "ExternalAPIError": ExternalAPIError, "process_payment": fail,
        "get_cart": lambda cart_id: SimpleNamespace(items=[1, 2]), "calculate_total": lambda cart: 2100,
        "get_user_statistics": lambda user_id: {"orders": 2}, "calculate_recommendations": lambda user_id: ["tea"],
        "get_recent_orders": lambda user_id, limit: [8, 7][:limit], **more,
    }  # fmt: skip


def block(name: str) -> str:
    """The source of a block."""
    source = BLOCKS.read_text(encoding="utf-8").partition(f"## {name}\n")[2]
    return source.partition("```")[2].partition("\n")[2].partition("```")[0]


def run(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Execute a block among the given names; the names afterwards."""
    source = block(name)
    assert source, f"there is no block {name}"
    exec(compile(source, f"{BLOCKS.name}: {name}", "exec"), given)  # noqa: S102 - that it runs as it stands is the test
    return given
