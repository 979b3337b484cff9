"""The short way into a checkout on PostgreSQL: one statement accepts those of many requests, and queues their jobs.

Each is accepted whole or not at all, and only if it is a first one: the order is open and nobody else's, it has no
live payment, and the key is new. Whoever is told otherwise goes the long way (`payments.request_checkout` under the
order's lock), which decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.domain import checks, jobs, payments
from core.domain.jobs import FIRST_HINT_SECONDS, PAYMENT_CREATE, Accepted, Request
from core.grouping import Group
from core.ids import is_id, new_id
from core.statements import columns, is_postgresql, run_statement

# What `payments.request_checkout` writes for an order that has no payment; tests hold the two together, column by
# column. An order that somebody has locked is left out rather than waited for. Between the statement's beginning and
# its locks another payment may have come: then the index says so, and nothing of that checkout is written. If it is the
# key that came, nothing of any of them is, and each tries alone.
# OFFSET 0 keeps a subquery from becoming a join that reads all live payments; an account that is not compared by `=`
# can be looked up in no index, so that rows are found by their id whatever PostgreSQL believes of the tables' sizes.
_LIVE = ", ".join(f"'{status}'" for status in payments.LIVE)
_OPEN = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(job)b::text[]::uuid[], %(payment)b::text[]::uuid[], %(account)b::text[],
                         %(order_id)b::text[]::uuid[], %(scope)b::text[], %(key)b::text[], %(fingerprint)b::text[],
                         %(request_id)b::text[], %(traceparent)b::text[])
        AS given (job, payment, account, order_id, scope, key, fingerprint, request_id, traceparent)
), mine AS MATERIALIZED (
    SELECT orders.id, orders.user_id, orders.total, orders.currency
    FROM given JOIN orders ON orders.id = given.order_id AND orders.account_id IS NOT DISTINCT FROM given.account
    WHERE orders.status IN ('pending', 'awaiting_payment')
    AND NOT EXISTS (SELECT FROM payments WHERE payments.order_id = orders.id AND payments.status IN ({_LIVE}) OFFSET 0)
    AND NOT EXISTS (SELECT FROM jobs WHERE jobs.account_id = given.account
        AND jobs.idempotency_scope = given.scope AND jobs.idempotency_key = given.key OFFSET 0)
    FOR UPDATE OF orders SKIP LOCKED
), first AS MATERIALIZED (
    SELECT given.*, mine.user_id, mine.total, mine.currency, users.stripe_customer_id AS customer
    FROM mine JOIN given ON given.order_id = mine.id
    LEFT JOIN users ON users.id = mine.user_id AND users.account_id IS NOT DISTINCT FROM given.account
), opened AS (
    INSERT INTO payments (id, account_id, order_id, status, amount, currency, amount_received, epoch, epoch_at, params,
                          test_mode, created_at, updated_at, check_at)
    SELECT payment, account, order_id, 'creating', total, currency, 0, 0, statement_timestamp(),
           CASE WHEN customer IS NOT NULL THEN jsonb_build_object(
               'amount', total, 'currency', currency, 'customer_id', customer, 'metadata', jsonb_build_object(
                   'order_id', order_id, 'user_id', user_id, 'payment_id', payment, 'job_id', job)) END,
           false, statement_timestamp(), statement_timestamp(),
           statement_timestamp() + make_interval(secs => %(check)s)
    FROM first ON CONFLICT DO NOTHING RETURNING id
), queued AS (
    INSERT INTO jobs (id, account_id, kind, queue, args, order_id, status, run_at, hint_at, hints, attempts, expiries,
                      crashes, alone, idempotency_scope, idempotency_key, fingerprint, request_id, traceparent,
                      created_at)
    SELECT job, account, '{PAYMENT_CREATE.name}', '{PAYMENT_CREATE.queue}',
           jsonb_build_object('order_id', order_id, 'payment_id', payment), order_id, '{jobs.QUEUED}',
           statement_timestamp(), statement_timestamp() + make_interval(secs => {FIRST_HINT_SECONDS}), 1, 0, 0, 0,
           false, scope, key, fingerprint, request_id, traceparent, statement_timestamp()
    FROM first JOIN opened ON opened.id = payment ON CONFLICT DO NOTHING RETURNING id
), noted AS (
    INSERT INTO job_events (job_id, at, what, data)
    SELECT id, statement_timestamp(), 'accepted', '{{"kind": "{PAYMENT_CREATE.name}"}}' FROM queued
)
SELECT job, 1 / (SELECT count(*) FROM queued WHERE queued.id = job) FROM first JOIN opened ON opened.id = payment
"""  # noqa: S608 - only our own constants; a payment without its job divides by zero, which undoes all of it

GATHER_SECONDS = 0.002
"""Under load a short wait makes groups larger, which costs everybody less than it takes."""


def open_checkout(account_id: str, order_id: str, request: Request) -> Accepted | None:
    """Accept a checkout that is its order's first, in a transaction that has committed when this returns.

    Returns:
        The job to hint at. None: something is out of the ordinary, or the database failed and whether it was accepted
        is unknown; go the long way, which finds what is there. (Without a key what is found is the running job.)
    """
    if not is_postgresql() or not is_id(order_id):
        return None
    opening = _opening(account_id, order_id, request)
    if not _group.hand_in(opening):
        return None
    return Accepted(opening.job, PAYMENT_CREATE, order_id, jobs.QUEUED, fresh=True)


class _Opening(NamedTuple):
    """The parameters of `_OPEN` for one request."""

    job: str
    payment: str
    account: str
    order_id: str
    scope: str | None
    key: str | None
    fingerprint: str | None
    request_id: str | None
    traceparent: str | None

    @property
    def unique(self) -> tuple[str, ...]:
        """What its job is the only one with: its key, or itself."""
        return (self.account, self.scope, self.key) if self.scope and self.key else (self.job,)


def _opening(account_id: str, order_id: str, request: Request) -> _Opening:
    scope = request.scope if request.key else None
    return _Opening(new_id(), new_id(), account_id, order_id, scope, request.key, request.fingerprint, request.id,
                    request.traceparent)  # fmt: skip


def _open_together(given: Sequence[_Opening]) -> list[bool]:
    """Whether each was accepted; of two about one order, or with one key, only the first may be."""
    of_order = {one.order_id: one for one in reversed(given)}
    of_key = {one.unique: one for one in reversed(given)}
    alone = [one for one in given if of_order[one.order_id] is one and of_key[one.unique] is one]
    # In one order everywhere, so that two processes never wait for each other's keys in a circle.
    alone.sort(key=lambda one: one.unique)
    found = run_statement(_OPEN, {**columns(alone), "check": checks.FIRST_CHECK_SECONDS})
    made = {row[0] for row in found}
    return [one.job in made for one in given]


_group = Group(_open_together, GATHER_SECONDS)
