"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.database import JSONDocument, Timestamp
from core.domain.ledger import APPEND_ONLY

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first schema."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("place", JSONDocument, nullable=False),
        sa.Column("moved_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursors")),
    )
    op.create_table(
        "daily_statistics",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="UTC"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False, comment="orders placed on that day"),
        sa.Column("paid_orders", sa.Integer(), nullable=False, comment="orders paid on that day"),
        sa.Column("gross", sa.BigInteger(), nullable=False, comment="captured on that day, minor units"),
        sa.Column("refunded", sa.BigInteger(), nullable=False, comment="refunded on that day, minor units"),
        sa.PrimaryKeyConstraint("account_id", "day", "currency", name=op.f("pk_daily_statistics")),
    )
    op.create_table(
        "job_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("what", sa.String(length=200), nullable=False),
        sa.Column("data", JSONDocument, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
    )
    op.create_index("ix_job_events_job", "job_events", ["job_id", "id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("args", JSONDocument, nullable=False),
        sa.Column(
            "order_id", sa.Uuid(as_uuid=False), nullable=True, comment="the order that the work is about, once known"
        ),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("run_at", Timestamp, nullable=False, comment="not before"),
        sa.Column("hint_at", Timestamp, nullable=False, comment="when the sweep hints next; never before run_at"),
        sa.Column(
            "hints", sa.Integer(), nullable=False, comment="hints since it was last queued; widens their distance"
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column(
            "expiries", sa.Integer(), nullable=False, comment="leases that ran out; from the second on it runs alone"
        ),
        sa.Column("crashes", sa.Integer(), nullable=False, comment="leases that ran out while it ran alone, and bugs"),
        sa.Column("alone", sa.Boolean(), nullable=False, comment="whether the current lease has its process to itself"),
        sa.Column(
            "lease_token",
            sa.Uuid(as_uuid=False),
            nullable=True,
            comment="the fence: every write of an attempt carries it",
        ),
        sa.Column("lease_expires_at", Timestamp, nullable=True),
        sa.Column("idempotency_scope", sa.String(length=128), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column(
            "fingerprint", sa.String(length=64), nullable=True, comment="sha256 of the request that the key belongs to"
        ),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("result", JSONDocument, nullable=True),
        sa.Column("error", JSONDocument, nullable=True),
        sa.Column("detail", sa.Text(), nullable=True, comment="why it was last put back, for a person"),
        sa.Column(
            "raised_at", Timestamp, nullable=True, comment="when it was last said that it has been open for too long"
        ),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("started_at", Timestamp, nullable=True),
        sa.Column("finished_at", Timestamp, nullable=True),
        sa.CheckConstraint("(status = 'running') = (lease_token IS NOT NULL)", name=op.f("ck_jobs_lease")),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'quarantined', 'needs_review')",
            name=op.f("ck_jobs_status"),
        ),
        sa.CheckConstraint("(idempotency_key IS NULL) = (idempotency_scope IS NULL)", name=op.f("ck_jobs_idempotency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_canary",
        "jobs",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("kind = 'maintenance.canary'"),
        sqlite_where=sa.text("kind = 'maintenance.canary'"),
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["hint_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
        sqlite_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_jobs_for_a_person",
        "jobs",
        ["status"],
        unique=False,
        postgresql_where=sa.text("status IN ('quarantined', 'needs_review')"),
        sqlite_where=sa.text("status IN ('quarantined', 'needs_review')"),
    )
    op.create_index(
        "ix_jobs_leases",
        "jobs",
        ["lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
        sqlite_where=sa.text("status = 'running'"),
    )
    op.create_index("ix_jobs_order", "jobs", ["order_id"], unique=False)
    op.create_index(
        "uq_jobs_idempotency",
        "jobs",
        ["account_id", "idempotency_scope", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "statistics_runs",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("as_of", Timestamp, nullable=False),
        sa.Column("complete_to", Timestamp, nullable=True, comment="all that was written before is counted"),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_statistics_runs")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False, comment="as given"),
        sa.Column(
            "email_folded", sa.String(length=320), nullable=False, comment="one customer however it is capitalised"
        ),
        sa.Column("full_name", sa.String(length=200), nullable=True),
        sa.Column("stripe_customer_id", sa.String(length=64), nullable=True),
        sa.Column(
            "deleted_customer_id",
            sa.String(length=64),
            nullable=True,
            comment="the last one that was deleted at Stripe",
        ),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("uq_users_email", "users", ["account_id", "email_folded"], unique=True)
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(length=255), nullable=False, comment="Stripe's event id"),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("api_version", sa.String(length=64), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False, comment="the verified body, as it came"),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("received_at", Timestamp, nullable=False),
        sa.Column("processed_at", Timestamp, nullable=True),
        sa.CheckConstraint(
            "status IN ('received', 'processed', 'ignored', 'foreign', 'unmatched', 'rejected')",
            name=op.f("ck_webhook_events_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False, comment="sha256 (hex) of the key"),
        sa.Column("scopes", sa.String(length=100), nullable=False, comment="separated by spaces"),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("revoked_at", Timestamp, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_api_keys_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_index(op.f("ix_api_keys_account_id"), "api_keys", ["account_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("disputed", sa.Boolean(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False, comment="minor units"),
        sa.Column("items", JSONDocument, nullable=False),
        sa.Column("reference", sa.String(length=100), nullable=True, comment="the shop's own order number"),
        sa.Column("metadata", JSONDocument, nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'awaiting_payment', 'paid', 'partially_refunded', 'refunded', 'canceled')",
            name=op.f("ck_orders_status"),
        ),
        sa.CheckConstraint("total > 0", name=op.f("ck_orders_total")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_orders_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    op.create_index("ix_orders_created", "orders", ["account_id", "created_at"], unique=False)
    op.create_index("ix_orders_user", "orders", ["user_id"], unique=False)
    op.create_index(
        "uq_orders_idempotency_key",
        "orders",
        ["account_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "uq_orders_reference",
        "orders",
        ["account_id", "reference"],
        unique=True,
        postgresql_where=sa.text("reference IS NOT NULL"),
        sqlite_where=sa.text("reference IS NOT NULL"),
    )
    op.create_table(
        "findings",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column(
            "object_id", sa.String(length=64), nullable=False, comment="Stripe's id, or ours where Stripe has none"
        ),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("detail", JSONDocument, nullable=False),
        sa.Column("found_at", Timestamp, nullable=False),
        sa.Column("seen_at", Timestamp, nullable=False, comment="when it was last found to be so"),
        sa.CheckConstraint(
            "kind IN ('missing_locally', 'missing_at_stripe', 'amount_differs', 'state_differs', 'refund_unknown', 'dispute_unknown', 'unreadable', 'unresolved')",
            name=op.f("ck_findings_kind"),
        ),
        sa.CheckConstraint("status IN ('open', 'repaired', 'closed')", name=op.f("ck_findings_status")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_findings_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index("ix_findings_status", "findings", ["status", "found_at"], unique=False)
    op.create_index("uq_findings_object", "findings", ["kind", "object_id"], unique=True)
    op.create_table(
        "ledger_transfers",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column(
            "cause", sa.String(length=64), nullable=False, comment="id of the Stripe object that moved the money"
        ),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("debit", sa.String(length=24), nullable=False),
        sa.Column("credit", sa.String(length=24), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False, comment="minor units"),
        sa.Column("posted_at", Timestamp, nullable=False),
        sa.CheckConstraint(
            "kind IN ('payment', 'refund', 'refund_reversal', 'dispute_withdrawn', 'dispute_reinstated', 'fee', 'fee_reversal')",
            name=op.f("ck_ledger_transfers_kind"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_ledger_transfers_amount")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_ledger_transfers_two_sides")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_ledger_transfers_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transfers")),
    )
    op.create_index("ix_ledger_transfers_order", "ledger_transfers", ["order_id"], unique=False)
    op.create_index("ix_ledger_transfers_posted", "ledger_transfers", ["account_id", "posted_at"], unique=False)
    op.create_index("uq_ledger_transfers_cause", "ledger_transfers", ["kind", "cause"], unique=True)
    op.create_table(
        "pauses",
        sa.Column(
            "name",
            sa.String(length=64),
            nullable=False,
            comment="what waits: all that needs Stripe, or one kind of job",
        ),
        sa.Column("since", Timestamp, nullable=False),
        sa.Column("until", Timestamp, nullable=False),
        sa.Column("spread", sa.Float(), nullable=False, comment="seconds after `until` over which the jobs come back"),
        sa.Column("refusals", sa.Integer(), nullable=False, comment="since it began"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pauses")),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False, comment="minor units"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_received", sa.BigInteger(), nullable=False, comment="minor units captured by Stripe"),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="advances only on proof that nothing happened"),
        sa.Column("epoch_at", Timestamp, nullable=False, comment="no key of this epoch is older than this"),
        sa.Column(
            "params", JSONDocument, nullable=True, comment="the exact parameters that the key was first used with"
        ),
        sa.Column("payment_intent_id", sa.String(length=64), nullable=True),
        sa.Column("charge_id", sa.String(length=64), nullable=True),
        sa.Column("client_secret", sa.String(length=255), nullable=True),
        sa.Column("test_mode", sa.Boolean(), nullable=False, comment="made with Stripe off: no money can move"),
        sa.Column("detail", sa.Text(), nullable=True, comment="why it is unknown or needs review, or the last decline"),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.Column("check_at", Timestamp, nullable=False, comment="when Stripe is asked again about an open one"),
        sa.Column(
            "check_failures", sa.Integer(), server_default="0", nullable=False, comment="in a row, without an answer"
        ),
        sa.CheckConstraint(
            "status IN ('creating', 'requires_payment', 'requires_action', 'processing', 'succeeded', 'canceled', 'unknown', 'needs_review')",
            name=op.f("ck_payments_status"),
        ),
        sa.CheckConstraint("amount > 0 AND amount_received >= 0", name=op.f("ck_payments_amounts")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payments_order_id_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
    )
    op.create_index(
        "ix_payments_check",
        "payments",
        ["check_at"],
        unique=False,
        postgresql_where=sa.text(
            "status IN ('creating', 'unknown', 'requires_payment', 'requires_action', 'processing')"
        ),
        sqlite_where=sa.text("status IN ('creating', 'unknown', 'requires_payment', 'requires_action', 'processing')"),
    )
    op.create_index("ix_payments_order", "payments", ["order_id"], unique=False)
    op.create_index("uq_payments_intent", "payments", ["payment_intent_id"], unique=True)
    op.create_index(
        "uq_payments_live",
        "payments",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text(
            "status IN ('creating', 'requires_payment', 'requires_action', 'processing', 'unknown', 'needs_review')"
        ),
        sqlite_where=sa.text(
            "status IN ('creating', 'requires_payment', 'requires_action', 'processing', 'unknown', 'needs_review')"
        ),
    )
    op.create_table(
        "disputes",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("stripe_dispute_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False, comment="Stripe's word, as is"),
        sa.Column("amount", sa.BigInteger(), nullable=False, comment="minor units"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.Column("check_at", Timestamp, nullable=False, comment="when Stripe is asked again about an open one"),
        sa.Column(
            "check_failures", sa.Integer(), server_default="0", nullable=False, comment="in a row, without an answer"
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_disputes_order_id_orders")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_disputes_payment_id_payments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
    )
    op.create_index(
        "ix_disputes_check",
        "disputes",
        ["check_at"],
        unique=False,
        postgresql_where=sa.text("(status NOT IN ('won', 'lost', 'warning_closed', 'prevented'))"),
        sqlite_where=sa.text("(status NOT IN ('won', 'lost', 'warning_closed', 'prevented'))"),
    )
    op.create_index("ix_disputes_order", "disputes", ["order_id"], unique=False)
    op.create_index("uq_disputes_stripe", "disputes", ["stripe_dispute_id"], unique=True)
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False, comment="minor units"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="advances only on proof that nothing happened"),
        sa.Column("epoch_at", Timestamp, nullable=False, comment="no key of this epoch is older than this"),
        sa.Column(
            "params", JSONDocument, nullable=True, comment="the exact parameters that the key was first used with"
        ),
        sa.Column("stripe_refund_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True, comment="why it failed, is unknown or needs review"),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.Column("check_at", Timestamp, nullable=False, comment="when Stripe is asked again about an open one"),
        sa.Column(
            "check_failures", sa.Integer(), server_default="0", nullable=False, comment="in a row, without an answer"
        ),
        sa.CheckConstraint(
            "status IN ('creating', 'pending', 'requires_action', 'succeeded', 'failed', 'canceled', 'unknown', 'needs_review')",
            name=op.f("ck_refunds_status"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refunds_amount")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_refunds_order_id_orders")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id_payments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
    )
    op.create_index(
        "ix_refunds_check",
        "refunds",
        ["check_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('creating', 'unknown', 'pending', 'requires_action')"),
        sqlite_where=sa.text("status IN ('creating', 'unknown', 'pending', 'requires_action')"),
    )
    op.create_index("ix_refunds_order", "refunds", ["order_id"], unique=False)
    op.create_index("uq_refunds_stripe", "refunds", ["stripe_refund_id"], unique=True)
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Undo it."""
    for table in (
        "refunds",
        "disputes",
        "payments",
        "pauses",
        "ledger_transfers",
        "findings",
        "orders",
        "api_keys",
        "webhook_events",
        "users",
        "statistics_runs",
        "jobs",
        "job_events",
        "daily_statistics",
        "cursors",
        "accounts",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION ledger_append_only()")
