"""Rows of the product's own schema in bulk, as its domain functions would have left them.

Made inside the server, so that ten million need no client. Ids are UUIDv7 of the row's own time, as in life, so that
indexes grow as they would.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from benchmarks.postgres import Database, free_bytes
from benchmarks.wire import Target

AMOUNT = 1050
TABLES = ("users", "orders", "payments", "jobs", "job_events", "ledger_transfers")
BATCH = 250_000
LOADERS = 2
"""Connections that load side by side, one for each core."""
SPARE_BYTES = 5 << 30
"""What loading leaves free on the disk."""
SAMPLE = 10_000
"""Rows after which the size of the rest is known."""

# Everything about the orders that are made next, so that each id is computed once. An id is a UUIDv7 of its second;
# its random bits depend on what it is for and on the order's number.
_BATCH = """
CREATE OR REPLACE FUNCTION pg_temp.id(kind text, number bigint, at double precision) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
    SELECT overlay(overlay(md5(kind || number::text)
        PLACING lpad(to_hex((at * 1000)::bigint), 12, '0') || '7' FROM 1 FOR 13) PLACING '8' FROM 17 FOR 1)::uuid $$;
CREATE TEMPORARY TABLE IF NOT EXISTS batch (n bigint, made timestamptz, intent text, user_id uuid, order_id uuid,
    payment_id uuid, job_id uuid, request_id uuid, transfer_id uuid);
"""
_FILL = """
TRUNCATE batch;
INSERT INTO batch
SELECT n, to_timestamp(at), 'pi_own' || lpad(n::text, 20, '0'), pg_temp.id('user', n, at), pg_temp.id('order', n, at),
       pg_temp.id('payment', n, at), pg_temp.id('job', n, at), pg_temp.id('request', n, at),
       pg_temp.id('ledger', n, at)
FROM (SELECT n, ({at})::float8 AS at FROM generate_series({first}::bigint, {last}::bigint) n) AS numbers
"""
_ACCOUNT = """
INSERT INTO accounts (id, created_at) VALUES ('default', now()) ON CONFLICT DO NOTHING
"""
_USERS = """
INSERT INTO users (id, account_id, email, email_folded, full_name, stripe_customer_id, created_at)
SELECT user_id, 'default', 'customer' || n || '@example.com', 'customer' || n || '@example.com', 'Ada Lovelace',
       'cus_own' || n, made FROM batch
"""
_ORDERS = """
INSERT INTO orders (id, account_id, user_id, status, disputed, currency, total, items, metadata, fingerprint,
    created_at)
SELECT order_id, 'default', user_id, '{status}', false, 'usd', 1050,
       '[{{"name": "book", "unit_amount": 1050, "quantity": 1}}]', '{{}}', repeat('0', 64), made FROM batch
"""
_PAYMENTS = """
INSERT INTO payments (id, account_id, order_id, status, amount, currency, amount_received, epoch, epoch_at, params,
    payment_intent_id, charge_id, client_secret, test_mode, created_at, updated_at, check_at)
SELECT payment_id, 'default', order_id, '{status}', 1050, 'usd', {received}, 0, made,
       jsonb_build_object('amount', 1050, 'currency', 'usd', 'customer_id', 'cus_own' || n,
       'metadata', jsonb_build_object('order_id', order_id, 'user_id', user_id, 'payment_id', payment_id,
       'job_id', job_id)), intent, {charge}, intent || '_secret_bench', false, made, made, now() + interval '1 day'
FROM batch
"""
_JOBS = """
INSERT INTO jobs (id, account_id, kind, queue, args, order_id, status, run_at, hint_at, hints, attempts, expiries,
    crashes, alone, idempotency_scope, idempotency_key, fingerprint, request_id, result, created_at, started_at,
    finished_at)
SELECT job_id, 'default', 'payments.create', 'payments',
       jsonb_build_object('order_id', order_id, 'payment_id', payment_id), order_id, 'succeeded', made,
       made + interval '5 s', 1, 1, 0, 0, false, 'POST /orders/{{id}}/checkout', 'old-' || n, repeat('0', 64),
       request_id::text, jsonb_build_object('order_id', order_id, 'total', 1050, 'currency', 'usd',
       'client_secret', intent || '_secret_bench', 'payment_intent_id', intent), made, made, made FROM batch
"""
_TIMELINE = """
INSERT INTO job_events (job_id, at, what, data) SELECT job_id, made, 'succeeded', NULL FROM batch
"""
_LEDGER = """
INSERT INTO ledger_transfers (id, account_id, order_id, kind, cause, currency, debit, credit, amount, posted_at)
SELECT transfer_id, 'default', order_id, 'payment', intent, 'usd', 'stripe_balance', 'sales', 1050, made FROM batch
"""
_TARGETS = "SELECT order_id, payment_id, intent FROM batch ORDER BY n"
OLD_BEGAN = 1_700_000_000
"""Unix time of the first old order; they come a second apart."""


class NoRoom(Exception):
    """The disk would not hold the rows that were asked for."""


class Orders:
    """Makes orders, with consecutive numbers, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = 1
        self._old = 0
        database.script(_BATCH)
        database.script("SET statement_timeout = 0")  # indexes of ten million rows take their time

    def pending(self, count: int) -> list[Target]:
        """Orders of returning customers, made now, that nobody has checked out."""
        return self._made(count, [_USERS, _ORDERS], "pending")

    def awaiting_payment(self, count: int) -> list[Target]:
        """Orders whose PaymentIntent exists and waits for its customer."""
        return self._made(count, [_USERS, _ORDERS, _PAYMENTS], "awaiting_payment")

    def forget(self) -> None:
        """The tables were emptied."""
        self._old = 0

    def grow_to(self, count: int) -> float:
        """Have `count` old, paid orders, each with its job, payment, timeline and ledger line.

        Returns:
            Bytes per order, indexes included.

        Raises:
            NoRoom: the disk is too small for them.
        """
        if count <= self._old:
            return self._bytes_per_order()
        self._database.script(_ACCOUNT)
        definitions = self._without_indexes()
        try:
            with ExitStack() as stack:
                loaders = [stack.enter_context(closing(_loader(self._database.url))) for _ in range(LOADERS)]
                together = stack.enter_context(ThreadPoolExecutor(LOADERS))
                while self._old < count:
                    most = BATCH if self._old >= SAMPLE else SAMPLE // LOADERS
                    firsts = range(self._old + 1, min(self._old + most * LOADERS, count) + 1, most)
                    lasts = [min(first + most - 1, count) for first in firsts]
                    list(together.map(_load_old, loaders, firsts, lasts))
                    self._old = lasts[-1]
                    self._check_room(count)
            for table in TABLES:  # the keys' indexes only: two loaders split pages that one would have filled
                self._database.script(f"REINDEX TABLE {table}")
        finally:
            for definition in definitions:
                self._database.script(definition)
        self._database.script("VACUUM ANALYZE")
        return self._bytes_per_order()

    def _made(self, count: int, statements: list[str], status: str) -> list[Target]:
        at = float(self._database.one("SELECT extract(epoch FROM date_trunc('second', now()))"))
        first, last = 10**9 + self._next, 10**9 + self._next + count - 1
        self._next += count
        self._database.script(_FILL.format(at=at, first=first, last=last))
        self._database.script(_ACCOUNT)
        for statement in statements:
            shown = "requires_payment" if statement is _PAYMENTS else status
            self._database.script(statement.format(received=0, charge="NULL", status=shown))
        return [
            Target(order_id=str(order), payment_id=str(payment_id), intent_id=intent, amount=AMOUNT)
            for order, payment_id, intent in self._database.rows(_TARGETS)
        ]

    def _without_indexes(self) -> list[str]:
        found = self._database.rows(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND NOT EXISTS"
            " (SELECT FROM pg_constraint WHERE conname = indexname) AND tablename = ANY(%s)",
            (list(TABLES),),
        )
        for name, _ in found:
            self._database.script(f'DROP INDEX "{name}"')
        return [definition for _, definition in found]

    def _check_room(self, count: int) -> None:
        free = free_bytes(self._database)
        needed = (count - self._old) * self._bytes_per_order() * 1.5 + SPARE_BYTES  # indexes and sorting come later
        if free is not None and free < needed:
            raise NoRoom(f"{count:,} orders need {needed / 1e9:.0f} GB more and the disk has {free / 1e9:.0f} GB free")

    def _bytes_per_order(self) -> float:
        return float(self._database.one("SELECT pg_database_size(current_database())")) / max(self._old, 1)


def _loader(url: str) -> Database:
    opened = Database(url)
    opened.script(_BATCH)
    # A loader of ours checks nothing that the server checks for others (foreign keys hold by construction), and may
    # take its time.
    opened.script("SET statement_timeout = 0; SET session_replication_role = replica")
    return opened


def _load_old(loader: Database, first: int, last: int) -> None:
    loader.script(_FILL.format(at=f"{OLD_BEGAN} + n", first=first, last=last))
    for statement in (_USERS, _ORDERS, _PAYMENTS, _JOBS, _TIMELINE, _LEDGER):
        status = "succeeded" if statement is _PAYMENTS else "paid"
        loader.script(statement.format(received=AMOUNT, charge="'ch_own' || n", status=status))
    loader.script("TRUNCATE batch")  # it is none of the history's bytes
