"""Settings of the program: the environment first, then the command line's flags over it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

API_VERSION = "2026-10-28.endive"
"""The account's default version: what events are rendered in and unversioned requests get."""


class SettingsError(Exception):
    """One line: which variable, what is wrong, what it should be. Never a secret's value."""


@dataclass(frozen=True)
class SimulatorSettings:
    """How one simulator runs.

    Attributes:
        state_dir: where simulator.db lives.
        port: loopback TCP port; 0 picks a free one.
        webhook_url: where events are POSTed (plain http); empty sends none.
        webhook_secret: signs the deliveries.
        secret_key: the only secret API key accepted; None accepts any sk_test_ key.
        publishable_key: likewise for pk_test_.
        latency_ms: artificial time per API request, half before the effect and half after it.
        settle_seconds: simulator-clock delay of what Stripe does "some time later" (a pending refund, a dispute).
        retry_seconds: delay before a webhook's second attempt; doubles up to a minute.
        delivery_threads: how many webhooks are on their way at once.
    """

    state_dir: Path
    port: int = 12111
    webhook_url: str = ""
    webhook_secret: str = ""
    secret_key: str | None = None
    publishable_key: str | None = None
    latency_ms: int = 0
    settle_seconds: float = 3.0
    retry_seconds: float = 0.5
    delivery_threads: int = 16

    def __post_init__(self) -> None:
        if self.webhook_url:
            parts = urlsplit(self.webhook_url)
            if parts.scheme != "http" or not parts.hostname:
                raise SettingsError("SIMULATOR_WEBHOOK_URL must be an http:// URL, or empty to send no webhooks")
            if not self.webhook_secret:
                raise SettingsError(
                    "STRIPE_WEBHOOK_SECRET is not set: set the secret that signs webhooks (whsec_...), "
                    "or set SIMULATOR_WEBHOOK_URL to nothing to send none"
                )


FLAGS: tuple[tuple[str, str, str], ...] = (
    ("SIMULATOR_PORT", "12111", "loopback port to listen on; 0 picks a free one"),
    ("STATE_DIR", "var", "directory of simulator.db"),
    ("STRIPE_WEBHOOK_SECRET", "", "signs webhooks; the first of a comma separated list"),
    ("STRIPE_SECRET_KEY", "", "the one secret key accepted; unset: any sk_test_ key"),
    ("STRIPE_PUBLISHABLE_KEY", "", "the one publishable key accepted; unset: any pk_test_ key"),
    ("SIMULATOR_WEBHOOK_URL", "http://127.0.0.1:8000/webhooks/stripe", "where events go; empty: nowhere"),
    ("SIMULATOR_LATENCY_MS", "0", "artificial latency of each API request, in milliseconds"),
    ("SIMULATOR_SETTLE_SECONDS", "3", "delay of what Stripe does some time later, in seconds"),
)


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> SimulatorSettings:
    """Read flags (`--simulator-port 0`) over environment variables (`SIMULATOR_PORT=0`).

    Raises:
        SettingsError: a value is missing or not what it should be.
        SystemExit: `--help`, or an unknown flag.
    """
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A strict stand-in for Stripe's v1 API.")
    for name, default, text in FLAGS:
        shown = f"{text} (${name}{f', default {default}' if default else ''})"
        flag = "--" + name.lower().replace("_", "-")
        parser.add_argument(flag, dest=name, default=environ.get(name, default), metavar="VALUE", help=shown)
    given: dict[str, str] = vars(parser.parse_args(arguments))
    return SimulatorSettings(
        state_dir=Path(given["STATE_DIR"]),
        port=int(_number("SIMULATOR_PORT", given["SIMULATOR_PORT"], whole=True, most=65535)),
        webhook_url=given["SIMULATOR_WEBHOOK_URL"].strip(),
        webhook_secret=given["STRIPE_WEBHOOK_SECRET"].split(",")[0].strip(),
        secret_key=given["STRIPE_SECRET_KEY"] or None,
        publishable_key=given["STRIPE_PUBLISHABLE_KEY"] or None,
        latency_ms=int(_number("SIMULATOR_LATENCY_MS", given["SIMULATOR_LATENCY_MS"], whole=True, most=600_000)),
        settle_seconds=_number("SIMULATOR_SETTLE_SECONDS", given["SIMULATOR_SETTLE_SECONDS"], whole=False, most=86_400),
    )


def _number(name: str, text: str, *, whole: bool, most: int) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise SettingsError(f"{name} is {text!r}: it must be a{' whole' if whole else ''} number from 0 to {most}")
    return value
