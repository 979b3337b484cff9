"""The peers' tables and statements: what somebody writes by hand for the same job, and no more."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE orders (
    id text PRIMARY KEY, customer text NOT NULL, total bigint NOT NULL, currency text NOT NULL,
    status text NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp(), paid_at timestamptz
);
CREATE TABLE payments (
    order_id text PRIMARY KEY REFERENCES orders, intent_id text NOT NULL UNIQUE, client_secret text NOT NULL,
    amount bigint NOT NULL, created_at timestamptz NOT NULL
);
CREATE TABLE events (
    id text PRIMARY KEY, type text NOT NULL, payload text NOT NULL, received_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz
);
CREATE TABLE ledger (
    cause text PRIMARY KEY, order_id text NOT NULL REFERENCES orders, amount bigint NOT NULL,
    posted_at timestamptz NOT NULL
);
"""

# Of one checkout: BEGIN, these three, COMMIT. {0}, {1} ... are the driver's placeholders.
LOCK_ORDER = "SELECT status FROM orders WHERE id = {0} FOR UPDATE"
KEEP_PAYMENT = """
INSERT INTO payments (order_id, intent_id, client_secret, amount, created_at)
VALUES ({0}, {1}, {2}, {3}, clock_timestamp()) ON CONFLICT DO NOTHING
"""
AWAIT_PAYMENT = "UPDATE orders SET status = 'awaiting_payment' WHERE id = {0}"

# Of one webhook: the first in the web process, the others in the worker.
KEEP_EVENT = "INSERT INTO events (id, type, payload) VALUES ({0}, {1}, {2}) ON CONFLICT DO NOTHING"
READ_EVENT = "SELECT payload FROM events WHERE id = {0} AND processed_at IS NULL"
LOCK_PAID = """
SELECT o.id FROM orders o JOIN payments p ON p.order_id = o.id WHERE p.intent_id = {0} FOR UPDATE OF o
"""
POST_LEDGER = """
INSERT INTO ledger (cause, order_id, amount, posted_at) VALUES ({0}, {1}, {2}, clock_timestamp()) ON CONFLICT DO NOTHING
"""
PAY_ORDER = "UPDATE orders SET status = 'paid', paid_at = clock_timestamp() WHERE id = {0}"
CLOSE_EVENT = "UPDATE events SET processed_at = clock_timestamp() WHERE id = {0}"


def numbered(statement: str) -> str:
    """With asyncpg's placeholders: $1, $2 ..."""
    return statement.format(*(f"${number}" for number in range(1, 10)))


def percent(statement: str) -> str:
    """With psycopg's placeholders."""
    return statement.format(*["%s"] * 9)
