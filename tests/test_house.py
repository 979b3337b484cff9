"""Rules for the tree as a whole that no tool checks. Style, types and import contracts are `make lint`."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOORS = {
    "redis": "core/caching.py",
    "stripe": "core/payments/stripe_door.py",
    "sentry_sdk": "core/monitoring.py",
}
PROGRAMS = ("core", "web", "worker", "simulator", "stack")
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "debian" + ".org")
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:home|root|Users|opt|work|mnt)/[\w.-]+")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in (ROOT / line for line in listed.stdout.splitlines()) if path.is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image


def test_no_file_names_a_registry() -> None:
    assert [(name, host) for name, text in texts() for host in REGISTRIES if host in text] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert [(name, found.group()) for name, text in texts() for found in MACHINE_PATHS.finditer(text)] == []


@pytest.mark.parametrize(("vendor", "door"), DOORS.items())
def test_a_vendor_is_imported_inside_its_door_only_and_only_when_needed(vendor: str, door: str) -> None:
    found = {
        (name, line) for name, text in texts() if name.split("/")[0] in PROGRAMS and name.endswith(".py")
        for line, inside in imports(text, vendor)
        if name != door or not inside
    }  # fmt: skip
    assert found == set()


def imports(source: str, vendor: str) -> Iterator[tuple[int, bool]]:
    """Line of each import of the vendor, and whether it runs inside a function or for type checkers only."""
    tree = ast.parse(source)
    lazily = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_checkers(outer)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(name.split(".")[0] == vendor for name in names):
                yield node.lineno, id(node) in lazily


def is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_an_import_at_the_top_of_a_module_is_seen() -> None:
    source = "import redis\nfrom redis.client import Redis\ndef f():\n    import redis\nimport rediscover\n"
    assert list(imports(source, "redis")) == [(1, False), (2, False), (4, True)]
