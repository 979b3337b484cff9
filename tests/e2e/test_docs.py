"""What the documents say is so: links lead somewhere, tables are complete, and every command was run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from core.settings import Settings
from docs.transcript import run, written
from stack.program import ROOT
from tests.conftest import OURS
from tests.e2e.shop import Shop

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings make, as GitHub does."""
    titles = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith("https://"):
            continue  # somebody else's
        name, _, fragment = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_the_settings_table_is_complete_and_its_defaults_are_right() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    documented = {name: default.strip("` ") for name, default in rows}
    fields = {str(field.alias or name.upper()): field for name, field in Settings.model_fields.items()}
    assert documented.keys() == fields.keys()
    for name, field in fields.items():
        plain = field.default not in (None, (), PydanticUndefined)
        if plain:
            said = str(field.default).removesuffix(".0")
            assert documented[name] == (said.lower() if isinstance(field.default, bool) else said), name


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs/why.md").read_text()
    explained = re.findall(r"^\| ([a-z0-9-]+) \|", reasons.partition("## Dependencies")[2], re.MULTILINE)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert explained[1:] == [re.split(r"[\[><=]", one)[0] for one in wanted]


def test_what_going_live_needs_is_what_the_deployment_asks_for() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yml").read_text()))
    told = set(re.findall(r"^ +([A-Z_]+)=", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert asked <= told


@pytest.mark.parametrize("target", ["run", "test"])
def test_make_knows_the_two_commands(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)  # noqa: S607 - on PATH


def test_the_readme_answers_as_it_says(shop: Shop) -> None:
    said = written()
    for step, done in zip(said, run(said, own_places(shop)), strict=True):
        assert done.answers_like(step), done


def test_the_commands_of_the_operations_page_work(shop: Shop) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environment = {**inherited, "STATE_DIR": str(shop.service.settings.state_dir)}
    for block in CONSOLE.findall((ROOT / "docs/operations.md").read_text()):
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            for usual, own in own_places(shop).items():
                command = command.replace(usual, own)
            shell = ["sh", "-c", command]
            done = subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done


def own_places(shop: Shop) -> dict[str, str]:
    """What the documents call by its usual name, and where it is here."""
    return {
        "http://127.0.0.1:8000": shop.service.web,
        "http://127.0.0.1:12111": shop.service.stripe,
        "var/": f"{shop.service.settings.state_dir}/",
        ".venv/bin/": f"{Path(sys.executable).parent}/",
    }
