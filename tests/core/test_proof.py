"""The proof: three sides, object by object, and each difference named."""

from __future__ import annotations

from core.proof import DISPUTED, FEES, PAID, REFUNDED, Difference, Pending, Total, compare

USD = (PAID, "pi_1", "usd")


def test_sides_that_agree_prove_it() -> None:
    refund = (REFUNDED, "re_1", "usd")
    found = compare({USD: 1000, refund: 300}, {USD: 1000, refund: 300}, {USD: 1000, refund: 300})
    assert found.holds
    assert found.totals == (Total(PAID, "usd", 1000, 1000, 1000), Total(REFUNDED, "usd", 300, 300, 300))


def test_nothing_at_all_is_proved() -> None:
    assert compare({}, {}, {}).holds


def test_a_payment_that_only_stripe_has_is_named() -> None:
    assert compare({}, {}, {USD: 1000}).differences == (Difference(*USD, ledger=0, rows=0, stripe=1000),)


def test_one_cent_is_a_difference() -> None:
    assert compare({USD: 1000}, {USD: 1000}, {USD: 1001}).differences == (Difference(*USD, 1000, 1000, 1001),)


def test_equal_totals_do_not_hide_two_wrong_objects() -> None:
    other = (PAID, "pi_2", "usd")
    found = compare({USD: 1000, other: 500}, {USD: 1000, other: 500}, {USD: 500, other: 1000})
    assert [one.object_id for one in found.differences] == ["pi_1", "pi_2"]
    assert found.totals[0].ledger == found.totals[0].stripe


def test_currencies_are_never_added_together() -> None:
    yen = (PAID, "pi_2", "jpy")
    found = compare({USD: 1000, yen: 7}, {USD: 1000, yen: 7}, {USD: 1000, yen: 7})
    assert [(total.currency, total.ledger) for total in found.totals] == [("jpy", 7), ("usd", 1000)]


def test_a_dispute_is_compared_between_ledger_and_stripe_only() -> None:
    dispute = (DISPUTED, "du_1", "usd")
    assert compare({dispute: 1000}, {}, {dispute: 1000}).holds
    assert not compare({}, {}, {dispute: 1000}).holds


def test_fees_are_compared_between_ledger_and_stripe_only() -> None:
    fee = (FEES, "txn_1", "usd")
    found = compare({fee: 60}, {}, {fee: 60})
    assert (found.holds, found.totals) == (True, (Total(FEES, "usd", 60, None, 60),))
    assert compare({}, {}, {fee: 60}).differences == (Difference(*fee, ledger=0, rows=None, stripe=60),)


def test_a_young_fee_that_is_not_posted_is_told_apart() -> None:
    young = {(FEES, "txn_1", "usd"): 60, (FEES, "txn_2", "usd"): 30, (FEES, "txn_3", "jpy"): 5}
    found = compare({}, {}, {}, young)
    assert (found.holds, found.totals) == (True, ())
    assert found.pending == (Pending("jpy", 1, 5), Pending("usd", 2, 90))


def test_a_young_fee_that_is_posted_must_be_right() -> None:
    fee = (FEES, "txn_1", "usd")
    assert compare({fee: 60}, {}, {}, {fee: 60}).pending == ()
    assert compare({fee: 61}, {}, {}, {fee: 60}).differences == (Difference(*fee, ledger=61, rows=None, stripe=60),)


def test_a_fee_that_only_the_ledger_has_is_a_difference() -> None:
    fee = (FEES, "txn_1", "usd")
    assert compare({fee: 60}, {}, {}, {}).differences == (Difference(*fee, ledger=60, rows=None, stripe=0),)
