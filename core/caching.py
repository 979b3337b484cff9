"""The cache: Redis while `REDIS_ENABLED` is on, otherwise every read is a miss.

The only place that knows Redis. Nothing here ever raises into the caller: a cache that fails is a miss, logged.
"""

from __future__ import annotations

import json
import math
import os
import random
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from core.logs import get_logger
from core.monitoring import monitor
from core.switches import enabled

if TYPE_CHECKING:
    import redis

logger = get_logger(__name__)
T = TypeVar("T")

PREFIX = "counterfoil:"
LOCK = "counterfoil-lock:"
CONNECT_SECONDS = 0.25
ANSWER_SECONDS = 0.5
CONNECTIONS = 50
DOWN_SECONDS = 1.0
"""How long reads and writes leave a Redis alone that did not answer; invalidations always try."""
WARN_SECONDS = 10.0

# Stores what was computed unless the key was deleted meanwhile: what was computed before a change must not outlive it.
_STORE_IF_HELD = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('DEL', KEYS[2])
return 1
"""


class _Found(NamedTuple):
    value: Any
    cost: float  # seconds that it took to compute, 0 when it was simply set
    left: float  # seconds until it expires


class Cache:
    """The facade. Values are what JSON can hold, and come back as JSON gives them: tuples as lists, keys as text."""

    def get(self, key: str) -> Any:
        """The value of `key`, or None."""
        if not enabled("REDIS_ENABLED"):
            return None
        found = _attempt("get", key, lambda client: _read(client, key))
        return None if found is None else found.value

    def set(self, key: str, value: object, ttl: float = 300) -> bool:
        """Store `value`; whether it was stored. What JSON cannot hold is not, and a warning says so.

        Args:
            ttl: seconds to keep it; none or less deletes the key.
        """
        if not enabled("REDIS_ENABLED"):
            return False
        if ttl <= 0:
            self.delete(key)
            return False
        text = _encoded(key, value)
        return text is not None and bool(
            _attempt("set", key, lambda client: client.set(PREFIX + key, text, px=_milliseconds(ttl)))
        )

    def delete(self, key: str) -> bool:
        """Forget `key`, and what is being computed for it right now; whether there was a value."""
        return self.delete_many([key]) > 0

    def delete_many(self, keys: Iterable[str]) -> int:
        """Forget several keys; how many had a value."""
        if not enabled("REDIS_ENABLED"):
            return 0
        names = list(keys)
        if not names:
            return 0

        def forget(client: redis.Redis) -> int:
            pipe = client.pipeline()
            pipe.delete(*(PREFIX + name for name in names))
            pipe.delete(*(LOCK + name for name in names))
            return int(pipe.execute()[0])

        return _attempt("delete", names[0], forget, always=True) or 0

    def get_or_compute(
        self,
        key: str,
        compute: Callable[[], T],
        ttl: float,
        *,
        early: float = 1.0,
        lock_ttl: float = 30.0,
        wait: float = 5.0,
    ) -> T:
        """The value of `key`, computed by one caller among all threads and processes while the others wait.

        A value near its end is computed again by one caller a little early, the more so the longer it takes, so
        that it rarely expires under load (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
        Prevention, 2015). False, 0, "" and None are values like any other.

        Args:
            compute: called without arguments; its errors are the caller's, unless a value was still good.
            ttl: seconds to keep the value.
            early: how eagerly to compute early; 0 never.
            lock_ttl: seconds after which a computing caller counts as dead; longer than `compute` takes.
            wait: seconds that others wait for it before they compute for themselves.
        """
        if not enabled("REDIS_ENABLED"):
            return compute()
        give_up = time.monotonic() + wait
        pause = 0.005
        while True:
            found = _attempt("get", key, lambda client: _read(client, key))
            if found is not None and found.left > -found.cost * early * math.log(1.0 - random.random()):  # noqa: S311
                return found.value  # type: ignore[no-any-return]  # what compute gave, through JSON
            token = _attempt("lock", key, lambda client: _lock(client, key, lock_ttl))
            if found is not None and not token:
                return found.value  # type: ignore[no-any-return]  # somebody else is at it, and this one is good
            if token is None or token or time.monotonic() > give_up:
                return _computed(key, compute, ttl, token, found)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that waiters do not march in step
            pause = min(pause * 2, 0.1)


cache = Cache()


def _read(client: redis.Redis, key: str) -> _Found | None:
    pipe = client.pipeline(transaction=False)
    pipe.get(PREFIX + key)
    pipe.pttl(PREFIX + key)
    text, left = pipe.execute()
    return None if text is None else _decoded(key, text, left / 1000)


def _lock(client: redis.Redis, key: str, seconds: float) -> str:
    token = secrets.token_hex(8)
    return token if client.set(LOCK + key, token, nx=True, px=_milliseconds(seconds)) else ""


def _computed(key: str, compute: Callable[[], T], ttl: float, token: str | None, good: _Found | None) -> T:
    """Compute, and store under the lock `token`; without one (Redis is down, or we waited too long) only compute."""
    started = time.perf_counter()
    text: str | None = None
    try:
        value = compute()
        text = _encoded(key, value, time.perf_counter() - started) if token else None
    except Exception:
        if good is None:
            raise
        logger.warning("a value could not be computed early, the old one is still good",
                       exc_info=True, extra={"key": key})  # fmt: skip
        return good.value  # type: ignore[no-any-return]  # what compute gave, through JSON
    finally:
        if token:
            arguments = (PREFIX + key, LOCK + key, token, text or "", _milliseconds(ttl))
            stored = _attempt("store", key, lambda client: client.eval(_STORE_IF_HELD, 2, *arguments))
            if stored == 0:
                logger.info("a computed value was not kept: it was deleted meanwhile", extra={"key": key})
    return value


def _encoded(key: str, value: object, cost: float = 0.0) -> str | None:
    try:
        return json.dumps([value, round(cost, 6)], allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        logger.warning("a value was not cached: JSON cannot hold it", extra={"key": key, "reason": str(error)})
        return None


def _decoded(key: str, text: str, left: float) -> _Found | None:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list) and len(found) == 2 and isinstance(found[1], int | float):
        return _Found(found[0], found[1], left)
    logger.warning("a cached value is not ours: a miss", extra={"key": key})
    return None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


_client: tuple[tuple[int, str | None], redis.Redis] | None = None
_leave_alone_until = 0.0
_quiet_until = 0.0


def _attempt(action: str, key: str, call: Callable[[redis.Redis], T], always: bool = False) -> T | None:
    """What `call` gives, or None when Redis cannot be asked."""
    global _leave_alone_until
    if not always and time.monotonic() < _leave_alone_until:
        return None
    try:
        return call(_connected())
    except Exception as error:  # noqa: BLE001 - down, slow, full, not installed: a cache that fails is a miss
        _leave_alone_until = time.monotonic() + DOWN_SECONDS
        _warn(action, key, error)
        return None


def _connected() -> redis.Redis:
    """This process's client; a forked child builds its own connections."""
    global _client
    identity = (os.getpid(), os.environ.get("REDIS_URL"))
    if _client is None or _client[0] != identity:
        _client = (identity, _connect())
    return _client[1]


def _connect() -> redis.Redis:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from core import settings

    pool = redis.BlockingConnectionPool.from_url(
        settings.load().redis_url or "",
        max_connections=CONNECTIONS,
        timeout=ANSWER_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        # Once, at once: a pooled connection may have been closed since. Not after a timeout, which took long enough.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        decode_responses=True,
    )
    return redis.Redis(connection_pool=pool)


def _warn(action: str, key: str, error: Exception) -> None:
    global _quiet_until
    monitor.add_breadcrumb("cache failed", category="cache", data={"action": action, "key": key})
    now = time.monotonic()
    if now >= _quiet_until:
        _quiet_until = now + WARN_SECONDS
        reason = f"{type(error).__name__}: {error}"
        logger.warning("the cache does not answer: misses until it does",
                       extra={"action": action, "key": key, "reason": reason})  # fmt: skip
