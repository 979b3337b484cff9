"""`python -m stack` refuses in one line, with exit status 2, before anything starts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stack.program import ROOT
from stack.single import only_one
from tests.stack.test_ports import free_port


def refusal(state_dir: Path, **variables: str) -> str:
    """The one line that the stack ends with."""
    ports = {name: str(free_port()) for name in ("PORT", "SIMULATOR_PORT", "FLOWER_PORT")}
    environment = {**os.environ, **ports, "STATE_DIR": str(state_dir), **variables}
    ended = subprocess.run(
        [sys.executable, "-m", "stack"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    return ended.stderr.strip()


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, PORT="eighty") == "PORT is 'eighty'; it should be a port from 1 to 65535"


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_it_is_for_dev_only(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, APP_ENV=name).startswith(f"APP_ENV={name} is not for this command")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert refusal(tmp_path, SIMULATOR_PORT=str(port)).startswith(f"SIMULATOR_PORT={port} cannot be used")


def test_a_second_stack_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with only_one(tmp_path):
        assert refusal(tmp_path).startswith(f"STATE_DIR={tmp_path} is in use by process {os.getpid()};")
