"""Secrets that a fresh machine lacks: made once in dev and kept, the same for every process."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def kept_secret(state_dir: Path, name: str) -> str:
    """The secret kept in `state_dir` for the variable `name`; the first process to ask makes it (mode 0600).

    Raises:
        OSError: the folder cannot be read or written.
    """
    path = state_dir / "secrets" / name.lower()
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        return _make(path, ("whsec_" if name == "STRIPE_WEBHOOK_SECRET" else "") + secrets.token_urlsafe(32))


def _make(path: Path, secret: str) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret)
            file.flush()
            os.fsync(handle)
        try:
            os.link(draft, path)  # unlike a rename it fails when another process was first
        except FileExistsError:
            return path.read_text("ascii")
        return secret
    finally:
        draft.unlink()
