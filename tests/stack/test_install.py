"""Setting up .venv: once per lock file, and one line when the machine cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack import install

UV = '#!/bin/sh\necho "$@" >> calls\nmkdir -p .venv .venv-other\n'


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a lock file, and a `uv` that writes down what it is asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "requirements.lock").write_text("flask==3.1.3\n")
    return tmp_path / "calls"


def test_it_installs_what_the_lock_names_with_hashes_only(calls: Path) -> None:
    install.main("requirements.lock")
    made, installed = calls.read_text().splitlines()
    assert made.endswith(" .venv")
    assert installed.endswith("--require-hashes -r requirements.lock")


def test_it_makes_another_environment_where_one_is_named(calls: Path) -> None:
    install.main("requirements.lock", ".venv-other")
    assert calls.read_text().splitlines()[0].endswith(" .venv-other")


def test_a_second_call_does_nothing(calls: Path) -> None:
    install.main("requirements.lock")
    before = calls.read_text()
    install.main("requirements.lock")
    assert calls.read_text() == before


def test_another_lock_is_installed(calls: Path) -> None:
    install.main("requirements.lock")
    before = calls.read_text()
    Path("requirements.lock").write_text("flask==3.1.4\n")
    install.main("requirements.lock")
    assert calls.read_text() > before


def test_a_failed_installation_is_tried_again(calls: Path) -> None:
    Path("bin/uv").write_text(UV + "exit 7\n")
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"uv venv .* ended with exit status 7"):
            install.main("requirements.lock")


def test_a_python_that_is_too_old_is_named(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"Python 3\.9 is too old; it should be 3\.11 or newer"):
        install.main("requirements.lock")
    assert not calls.exists()
