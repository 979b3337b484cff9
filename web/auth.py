"""Who is asking: an API key of an account, or the checkout token of one order."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from flask import request

from core import get_logger, monitor, settings
from core.database import DatabaseUnavailable, reading, transaction
from core.domain import accounts, jobs
from core.errors import NotFound
from web import tokens
from web.problems import Forbidden, Unauthenticated

logger = get_logger(__name__)

REMEMBER_SECONDS = 5.0
"""How long a revoked key may still work in a process that has just seen it."""
RENEW_SECONDS = 0.8 * REMEMBER_SECONDS
"""From then on one request looks the key up again. Otherwise all would do so together, when it is forgotten."""
REMEMBER_KEYS = 1024


@dataclass(frozen=True)
class Caller:
    """The authenticated caller; `order_id` is set for a checkout token, which sees that order only."""

    account_id: str
    scopes: frozenset[str]
    order_id: str | None = None

    def check_order(self, order_id: str | None) -> None:
        """Let a checkout token see its own order only.

        Raises:
            NotFound: another order, answered as if there were none.
        """
        if self.order_id is not None and order_id != self.order_id:
            raise NotFound("there is no such order")

    def may_see(self, job: jobs.Job) -> bool:
        """Whether the job is the caller's: of its account, or for a checkout token a checkout of its order."""
        if job.account_id != self.account_id:
            return False
        return self.order_id is None or (job.order_id == self.order_id and job.kind == jobs.PAYMENT_CREATE.name)


@dataclass
class _Seen:
    caller: Caller
    renew_at: float
    until: float


class Memory:
    """Verified keys of the last seconds, by hash: every request pays for the check, so most skip the database."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._seen: dict[str, _Seen] = {}

    def __len__(self) -> int:
        """How many keys are remembered, fresh or not."""
        return len(self._seen)

    def get(self, digest: str) -> Caller | None:
        """The caller of a key that was verified a moment ago, or None: it must be looked up.

        Of all that ask after RENEW_SECONDS the first is told None; the others go on with what is known until
        REMEMBER_SECONDS are over.
        """
        found, now = self._seen.get(digest), self._clock()
        if found is None:
            return None
        if now >= found.renew_at:
            found.renew_at = found.until  # several in one moment may all look it up, which does no harm
            return None
        return found.caller

    def put(self, digest: str, caller: Caller) -> None:
        """Remember a verified key; when full, forget all: that costs a look-up each, and no bookkeeping."""
        now = self._clock()
        with self._lock:
            if len(self._seen) >= REMEMBER_KEYS:
                self._seen.clear()
            self._seen[digest] = _Seen(caller, now + RENEW_SECONDS, now + REMEMBER_SECONDS)

    def forget(self, digest: str) -> None:
        """Forget a key that turned out to be revoked."""
        with self._lock:
            self._seen.pop(digest, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._seen.clear()


memory = Memory()


def authorise(scope: str, browser: bool) -> Caller:
    """The caller of this request, if it may do what needs `scope`.

    Args:
        browser: whether a checkout token may do it too.

    Raises:
        Unauthenticated: no key, or an unknown, revoked or expired one.
        Forbidden: the key lacks the scope.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("send an API key as Authorization: Bearer <key>")
    caller = _of_token(secret, browser) if secret.startswith(tokens.PREFIX) else _of_key(secret, scope)
    monitor.set_user(user_id=caller.account_id)
    return caller


def ensure_bootstrap_key() -> None:
    """Give BOOTSTRAP_API_KEY, if there is one, to the account `default`.

    A database that is away does not stop the start: the first request with that key tries again.
    """
    key = settings.load().bootstrap_api_key
    if key is None:
        return
    try:
        with transaction() as conn:
            works = accounts.ensure_bootstrap_key(conn, key.get_secret_value())
    except DatabaseUnavailable as error:
        logger.warning("Bootstrap key not stored yet", extra={"error": str(error)})
        return
    if not works:
        logger.warning("BOOTSTRAP_API_KEY was revoked and stays so: set another one")


def _of_token(secret: str, browser: bool) -> Caller:
    account_id, order_id = tokens.read(secret)
    if not browser:
        raise Forbidden("a checkout token may only read its order, check it out, and read those jobs")
    return Caller(account_id, frozenset(), order_id)


def _of_key(secret: str, scope: str) -> Caller:
    digest = accounts.digest(secret)
    caller = memory.get(digest)
    if caller is None:
        key = _find(secret)
        if key is None:
            memory.forget(digest)
            raise Unauthenticated("the API key is unknown or revoked")
        caller = Caller(key.account_id, key.scopes)
        memory.put(digest, caller)
    if scope not in caller.scopes:
        raise Forbidden(f"this needs a key with the scope {scope!r}")
    return caller


def _find(secret: str) -> accounts.Key | None:
    with reading() as conn:
        key = accounts.find_key(conn, secret)
    if key is None and _is_bootstrap(secret):
        ensure_bootstrap_key()
        with reading() as conn:
            key = accounts.find_key(conn, secret)
    return key


def _is_bootstrap(secret: str) -> bool:
    key = settings.load().bootstrap_api_key
    # Compared as bytes: a header may hold characters that compare_digest refuses in text.
    return key is not None and hmac.compare_digest(key.get_secret_value().encode(), secret.encode())
