"""Statistics: rebuild all days of the account that asks; the schedule brings those of all accounts up to date."""

from __future__ import annotations

from core import get_logger, monitor
from core.crashpoints import crash_point
from core.database import reading
from core.domain import statistics
from worker.work import Work

logger = get_logger(__name__)


def recompute(work: Work) -> None:
    """Count each account's days from its orders and its ledger, one transaction per account."""
    one = work.args.get("account_id")
    count = statistics.rebuild if one else statistics.refresh
    with reading() as conn:
        accounts = [one] if one else statistics.accounts(conn)
    rows = 0
    with monitor.trace("statistics.recompute"):
        for account_id in accounts:
            with work.step() as conn:
                rows += count(conn, account_id)
            crash_point("statistics.rebuilt")
    with work.succeed({"accounts": len(accounts), "rows": rows}):
        pass
    logger.info("statistics rebuilt", extra={"accounts": len(accounts), "rows": rows})
