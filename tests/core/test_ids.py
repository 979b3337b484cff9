"""Ids sort by time, tokens never repeat."""

from __future__ import annotations

from uuid import UUID

import pytest

from core.ids import is_id, new_id, new_token


def test_ids_are_uuids_that_sort_in_the_order_of_their_making() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert {UUID(one).version for one in made} == {7}


def test_tokens_are_random() -> None:
    made = [new_token() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {UUID(one).version for one in made} == {4}


def test_what_we_print_is_an_id_in_either_case() -> None:
    assert is_id(new_id())
    assert is_id(new_id().upper())


@pytest.mark.parametrize(
    "text",
    ["", "1", "nonsense", "{0190a0a0-0000-7000-8000-000000000000}", "0190a0a0000070008000000000000000",
     "urn:uuid:0190a0a0-0000-7000-8000-000000000000", " 0190a0a0-0000-7000-8000-000000000000",
     "0190a0a0-0000-7000-8000-00000000000", "0190a0a0-0000-7000-8000-00000000000\x00", "\ud800"],
)  # fmt: skip
def test_what_we_never_print_is_no_id(text: str) -> None:
    assert not is_id(text)
