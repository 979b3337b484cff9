"""The ledger: append-only, double entry, one currency per line.

A transfer takes `amount` from one ledger account to another in a single row, so debits equal credits by
construction: no row can be half a posting, and the database refuses an amount that is not positive, a second
posting for the same cause, and every change or removal. A posting's cause is the Stripe object that moved
the money.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Connection, ForeignKey, Index, String, Table, Uuid, select

from core.database import Timestamp, insert_into, metadata, now
from core.ids import new_id

PAYMENT, REFUND, REFUND_REVERSAL = "payment", "refund", "refund_reversal"
DISPUTE_WITHDRAWN, DISPUTE_REINSTATED = "dispute_withdrawn", "dispute_reinstated"
FEE, FEE_REVERSAL = "fee", "fee_reversal"
STRIPE_BALANCE = "stripe_balance"
# kind -> (debited account, credited account)
ACCOUNTS = {
    PAYMENT: (STRIPE_BALANCE, "sales"),
    REFUND: ("refunds", STRIPE_BALANCE),
    REFUND_REVERSAL: (STRIPE_BALANCE, "refunds"),
    DISPUTE_WITHDRAWN: ("disputes", STRIPE_BALANCE),
    DISPUTE_REINSTATED: (STRIPE_BALANCE, "disputes"),
    FEE: ("fees", STRIPE_BALANCE),
    FEE_REVERSAL: (STRIPE_BALANCE, "fees"),
}

transfers = Table(
    "ledger_transfers",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("order_id", Uuid(as_uuid=False), ForeignKey("orders.id"), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("cause", String(64), nullable=False, comment="id of the Stripe object that moved the money"),
    Column("currency", String(3), nullable=False),
    Column("debit", String(24), nullable=False),
    Column("credit", String(24), nullable=False),
    Column("amount", BigInteger, nullable=False, comment="minor units"),
    Column("posted_at", Timestamp, nullable=False),
    CheckConstraint(f"kind IN {tuple(ACCOUNTS)}", name="kind"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("debit <> credit", name="two_sides"),
)
Index("uq_ledger_transfers_cause", transfers.c.kind, transfers.c.cause, unique=True)
Index("ix_ledger_transfers_order", transfers.c.order_id)
Index("ix_ledger_transfers_posted", transfers.c.account_id, transfers.c.posted_at)

# Alembic runs these; a table that metadata.create_all made in a test has them through the migration as well.
APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER ledger_transfers_no_{verb} BEFORE {verb} ON ledger_transfers "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        for verb in ("update", "delete")
    ),
    "postgresql": (
        """
        CREATE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'restrict_violation'; END $$
        """,
        """
        CREATE TRIGGER ledger_transfers_append_only BEFORE UPDATE OR DELETE ON ledger_transfers
        FOR EACH ROW EXECUTE FUNCTION ledger_append_only()
        """,
        """
        CREATE TRIGGER ledger_transfers_no_truncate BEFORE TRUNCATE ON ledger_transfers
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()
        """,
    ),
}


def post(
    conn: Connection, kind: str, *, cause: str, account_id: str, order_id: str, currency: str, amount: int
) -> bool:
    """Record one movement of money, once however often it is reported.

    Args:
        kind: one of `ACCOUNTS`.
        cause: id of the Stripe object that moved the money.
        amount: minor units of `currency`, positive.

    Returns:
        False when this movement stood in the ledger already.
    """
    debit, credit = ACCOUNTS[kind]
    insert = insert_into(conn, transfers)
    made = conn.execute(
        insert.values(
            id=new_id(), account_id=account_id, order_id=order_id, kind=kind, cause=cause, currency=currency,
            debit=debit, credit=credit, amount=amount, posted_at=now(),
        )
        .on_conflict_do_nothing()
        .returning(transfers.c.id)
    ).first()  # fmt: skip
    return made is not None


def posted(conn: Connection, cause: str) -> set[str]:
    """The kinds of movements that stand in the ledger for one Stripe object."""
    return set(conn.execute(select(transfers.c.kind).where(transfers.c.cause == cause)).scalars())
