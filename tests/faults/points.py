"""The crash points, read from the source, so that none can be forgotten."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("core", "web", "worker")


@cache
def found() -> tuple[tuple[str, str], ...]:
    """(name, file) of every call of `crash_point`, sorted; a name that is no literal is shown as `?`."""
    calls = [
        (_name(node), str(path.relative_to(ROOT)))
        for program in PROGRAMS
        for path in sorted((ROOT / program).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _called(node) == "crash_point"
    ]
    return tuple(sorted(calls))


def names() -> tuple[str, ...]:
    """The names of all crash points, sorted."""
    return tuple(sorted({name for name, _ in found()}))


def _called(call: ast.Call) -> str | None:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", None)


def _name(call: ast.Call) -> str:
    argument = call.args[0] if call.args else None
    return str(argument.value) if isinstance(argument, ast.Constant) else "?"
