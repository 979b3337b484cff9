"""The cache: Redis while `REDIS_ENABLED` is on, otherwise every read is a miss.

The only place that knows Redis. Nothing here ever raises into the caller: a cache that fails is a miss, logged.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from core.cache_entries import Seen, decoded, encoded
from core.logs import get_logger
from core.monitoring import monitor
from core.switches import enabled

if TYPE_CHECKING:
    import redis

logger = get_logger(__name__)
T = TypeVar("T")
P = ParamSpec("P")

PREFIX = "counterfoil:"
LOCK = "counterfoil-lock:"
CONNECT_SECONDS = 0.25
ANSWER_SECONDS = 0.5
CONNECTIONS = 50
DOWN_SECONDS = 1.0
"""How long reads and writes leave a Redis alone that did not answer; invalidations always try."""
WARN_SECONDS = 10.0

# Whoever saw a miss after somebody else stored must look again, not compute again.
_LOCK_IF_UNCHANGED = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
# Deleting a key takes its lock away: what was computed before a change must not outlive it.
_STORE_IF_HELD = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('DEL', KEYS[2])
return 1
"""


class Cache:
    """The facade. Values are what JSON can hold, and come back as JSON gives them: tuples as lists, keys as text."""

    def get(self, key: str) -> Any:
        """The value of `key`, or None."""
        if not enabled("REDIS_ENABLED"):
            return None
        seen = _attempt("get", key, _read)
        return None if seen is None else seen.value

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
        text = encoded(key, value)
        return text is not None and _attempt("set", key, _write, text, ttl) is True

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
        return _attempt("delete", names[0], _forget, names) or 0

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
        give_up, pause = time.monotonic() + wait, 0.005
        while True:
            seen = _attempt("get", key, _read)
            if seen is None:
                return compute()
            if seen.hit and not seen.nearly_over(early):
                return seen.value  # type: ignore[no-any-return]  # what compute gave, through JSON
            if token := _attempt("lock", key, _lock, seen.text, lock_ttl):
                return _computed(key, compute, ttl, token, seen)
            if seen.hit:  # somebody else is at it, and this one is still good
                return seen.value  # type: ignore[no-any-return]  # what compute gave, through JSON
            if time.monotonic() > give_up:
                return compute()
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that waiters do not march in step
            pause = min(pause * 2, 0.1)


cache = Cache()


def _read(client: redis.Redis, key: str) -> Seen:
    pipe = client.pipeline(transaction=False)
    pipe.get(PREFIX + key)
    pipe.pttl(PREFIX + key)
    text, left = pipe.execute()
    return decoded(key, text, left / 1000)


def _write(client: redis.Redis, key: str, text: str, ttl: float) -> bool:
    return bool(client.set(PREFIX + key, text, px=_milliseconds(ttl)))


def _forget(client: redis.Redis, _: str, names: list[str]) -> int:
    pipe = client.pipeline()
    pipe.delete(*(PREFIX + name for name in names))
    pipe.delete(*(LOCK + name for name in names))
    return int(pipe.execute()[0])


def _lock(client: redis.Redis, key: str, seen: str, seconds: float) -> str:
    token = secrets.token_hex(8)
    names = (PREFIX + key, LOCK + key)
    return token if client.eval(_LOCK_IF_UNCHANGED, 2, *names, token, _milliseconds(seconds), seen) else ""


def _store(client: redis.Redis, key: str, token: str, text: str, ttl: float) -> bool:
    return bool(client.eval(_STORE_IF_HELD, 2, PREFIX + key, LOCK + key, token, text, _milliseconds(ttl)))


def _computed(key: str, compute: Callable[[], T], ttl: float, token: str, seen: Seen) -> T:
    """Compute and store under the lock `token`, which ends with it."""
    started = time.perf_counter()
    text: str | None = None
    try:
        value = compute()
        text = encoded(key, value, time.perf_counter() - started)
    except Exception:
        if not seen.hit:
            raise
        logger.warning("not computed early, the old value is still good", exc_info=True, extra={"key": key})
        return seen.value  # type: ignore[no-any-return]  # what compute gave, through JSON
    finally:
        if _attempt("store", key, _store, token, text or "", ttl) is False:
            logger.info("a computed value was not kept: it was deleted meanwhile", extra={"key": key})
    return value


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


_client: tuple[tuple[int, str | None], redis.Redis] | None = None
_leave_alone_until = 0.0
_quiet_until = 0.0


def _attempt(
    action: str, key: str, call: Callable[Concatenate[redis.Redis, str, P], T], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """What `call` gives, or None when Redis cannot be asked."""
    global _leave_alone_until
    if action != "delete" and time.monotonic() < _leave_alone_until:
        return None
    try:
        return call(_connected(), key, *args, **kwargs)
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
        retry=Retry(NoBackoff(), 0),  # a miss costs less than waiting again
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
