"""One stack per STATE_DIR."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.refusal import Refused
from stack.single import only_one


def test_a_second_stack_on_the_same_folder_is_told_who_runs(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(Refused) as refused, only_one(tmp_path):
        pass
    assert str(refused.value).startswith(f"STATE_DIR={tmp_path} is in use by process {os.getpid()};")


def test_the_folder_is_free_again_after_a_stop(tmp_path: Path) -> None:
    for _ in range(2):
        with only_one(tmp_path / "state"):
            pass
