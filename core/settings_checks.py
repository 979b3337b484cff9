"""What must fit together in the settings; one line per problem, none when all is well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.settings import Settings

LEAST_SECRET = 32
"""Characters that a key of ours needs in prod."""
LEAST_LEASE = 60
"""Seconds: a call to Stripe and its bookkeeping take up to half of it."""


def problems(settings: Settings) -> Iterator[str]:
    """The lines to show, the first thing to mend first."""
    yield from _missing(settings)
    yield from _weak(settings)
    yield from _wrong_stripe(settings)


def _missing(s: Settings) -> Iterator[str]:
    outside_dev = s.app_env != "dev"
    if s.redis_enabled and not s.redis_url:
        yield "REDIS_URL is not set; it should be redis://host:6379 when REDIS_ENABLED=true"
    if s.sentry_enabled and not s.sentry_dsn:
        yield "SENTRY_DSN is not set; it should be the project's DSN when SENTRY_ENABLED=true"
    if s.stripe_enabled and not s.stripe_secret_key:
        yield "STRIPE_SECRET_KEY is not set; it should be the API key when STRIPE_ENABLED=true"
    if s.stripe_enabled and outside_dev and not s.own_webhook_secrets:
        yield "STRIPE_WEBHOOK_SECRET is not set; it should be the signing secret when STRIPE_ENABLED=true"
    if outside_dev and not s.own_secret_key:
        yield f"SECRET_KEY is not set; it should be {LEAST_SECRET} or more random characters"


def _weak(s: Settings) -> Iterator[str]:
    for name, key in (("SECRET_KEY", s.own_secret_key), ("BOOTSTRAP_API_KEY", s.own_bootstrap_key)):
        if s.app_env == "prod" and key and len(key.get_secret_value()) < LEAST_SECRET:
            yield f"{name} is too short for prod; it should be {LEAST_SECRET} or more random characters"
    if s.app_env == "prod" and s.lease_seconds < LEAST_LEASE:
        yield f"LEASE_SECONDS is too short for prod; it should be {LEAST_LEASE} or more, for Stripe to answer in"
    if s.app_env == "prod" and s.crash_point:
        yield "CRASH_POINT is set; it should be unset in prod: it kills processes to test their recovery"


def _wrong_stripe(s: Settings) -> Iterator[str]:
    if not s.stripe_secret_key:
        return
    kind, mode, rest = (*s.stripe_secret_key.get_secret_value().split("_", 2), "", "")[:3]
    if kind not in ("sk", "rk") or mode not in ("test", "live") or not rest:
        yield "STRIPE_SECRET_KEY is not a secret key; it should start with sk_ or rk_, then test_ or live_"
        return
    wanted = "live" if s.app_env == "prod" else "test"
    # STRIPE_API_BASE points at a stand-in, where no money moves whatever the key says.
    if s.stripe_enabled and not s.stripe_api_base and mode != wanted:
        yield f"STRIPE_SECRET_KEY is a {mode} key; it should be a {wanted} key when APP_ENV={s.app_env}"
