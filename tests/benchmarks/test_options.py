from __future__ import annotations

import pytest

from benchmarks import options


def test_a_side_is_chosen_by_a_word_of_its_name() -> None:
    given = options.parse(["--only", "rq", "gevent"])
    assert [name for name in ("rq", "arq", "Celery gevent", "taskiq") if given.wants(name)] == ["rq", "Celery gevent"]


def test_all_sides_take_part_unless_some_are_chosen() -> None:
    assert options.parse([]).wants("taskiq")


def test_numbers_given_take_the_place_of_the_sizes_own() -> None:
    size = options.parse(["--size", "full", "--jobs", "7_000", "--old", "300", "100"]).size
    assert (size.jobs, size.old, size.repetitions) == (7000, (100, 300), options.SIZES["full"].repetitions)


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["--case", "Z"], ["--size", "huge"]])
def test_what_cannot_be_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(arguments)
    assert "error" in capsys.readouterr().err
