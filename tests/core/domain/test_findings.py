"""Findings: one row per difference, open until it is repaired or an operator closes it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core.database import reading, transaction
from core.domain import findings
from core.domain.findings import AMOUNT_DIFFERS, CLOSED, MISSING_LOCALLY, OPEN, REPAIRED, STATE_DIFFERS, Finding
from core.ids import new_id
from tests.core.domain import shop

pytestmark = pytest.mark.usefixtures("database_url")


def record(
    kind: str = STATE_DIFFERS, object_id: str = "pi_1", detail: dict[str, Any] | None = None, **more: Any
) -> None:
    with transaction() as conn:
        findings.record(conn, kind, object_id, detail or {"local": "a", "stripe": {"b": 1}}, **more)


def listed(account_id: str | None = None, status: str | None = OPEN, limit: int = 100) -> list[Finding]:
    with reading() as conn:
        return findings.listed(conn, account_id, status, limit)


def close(finding_id: str) -> bool:
    with transaction() as conn:
        return findings.close(conn, finding_id)


def test_a_difference_is_one_finding_however_often_it_is_seen() -> None:
    record()
    [first] = listed()
    record(detail={"local": "c"})
    [again] = listed()
    assert (again.id, again.found_at, again.detail) == (first.id, first.found_at, {"local": "c"})
    assert again.seen_at >= first.seen_at
    record(kind=AMOUNT_DIFFERS)
    record(object_id="pi_2")
    assert len(listed()) == 3


def test_a_finding_that_is_repaired_in_the_same_transaction_is_kept_as_repaired() -> None:
    record(repaired=True)
    assert listed() == []
    assert [one.status for one in listed(status=REPAIRED)] == [REPAIRED]
    record()
    assert [one.status for one in listed()] == [OPEN]  # it differs again
    record(repaired=True)
    assert listed() == []


def test_an_operator_closes_an_open_finding_once() -> None:
    record()
    [finding] = listed()
    assert close(finding.id)
    assert not close(finding.id)
    assert (listed(), [one.status for one in listed(status=CLOSED)]) == ([], [CLOSED])


@pytest.mark.parametrize("finding_id", ["nonsense", "0190a0a0-0000-7000-8000-000000000000"])
def test_what_is_no_open_finding_cannot_be_closed(finding_id: str) -> None:
    record(repaired=True)
    [repaired] = listed(status=None)
    assert not close(finding_id)
    assert not close(repaired.id)


def test_a_closed_finding_opens_again_only_when_it_looks_different() -> None:
    record(detail={"stripe": {"amount": 1, "status": "x"}})
    assert close(listed()[0].id)
    record(detail={"stripe": {"amount": 1, "status": "x"}})
    assert listed() == []
    record(detail={"stripe": {"amount": 2, "status": "x"}})
    assert [one.detail for one in listed()] == [{"stripe": {"amount": 2, "status": "x"}}]


def test_an_account_sees_its_own_findings_only() -> None:
    with transaction() as conn:
        order = shop.place(conn)
    record(object_id="mine", account_id="acme", order_id=order.id)
    record(object_id="theirs", account_id="other")
    record(kind=MISSING_LOCALLY, object_id="nobodys")
    assert [one.object_id for one in listed("acme")] == ["mine"]
    assert len(listed(limit=1)) == 1
    assert len(listed()) == 3
    assert listed("acme")[0].order_id == order.id


def test_the_database_knows_the_kinds_and_the_orders() -> None:
    with pytest.raises(IntegrityError):
        record(kind="odd")
    with pytest.raises(IntegrityError):
        record(order_id=new_id())


def test_what_is_not_so_any_more_is_repaired_by_kind_and_object() -> None:
    with transaction() as conn:
        for kind, object_id in (
            (findings.UNREADABLE, "pi_1"), (findings.UNREADABLE, "pi_2"), (findings.AMOUNT_DIFFERS, "pi_1"),
        ):  # fmt: skip
            findings.record(conn, kind, object_id, {})
        findings.mend(conn, "pi_1", findings.UNREADABLE, findings.MISSING_AT_STRIPE)
        assert [one.object_id for one in findings.open_of(conn, findings.UNREADABLE)] == ["pi_2"]
        assert len(findings.open_of(conn, findings.AMOUNT_DIFFERS)) == 1
        findings.record(conn, findings.UNREADABLE, "pi_1", {})
        assert len(findings.open_of(conn, findings.UNREADABLE)) == 2
