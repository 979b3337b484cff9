"""The cache: the same contract with Redis on and off, and what Redis may do to us."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis

from core import cache, caching
from core.monitoring import collecting
from core.settings import ROOT
from tests.core.private_redis import PrivateRedis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    found = PrivateRedis(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@pytest.fixture
def on(server: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> PrivateRedis:
    """Redis is on, empty, and nobody complained about it yet."""
    monkeypatch.setenv("REDIS_ENABLED", "true")
    monkeypatch.setenv("REDIS_URL", server.url)
    for name in ("_leave_alone_until", "_quiet_until"):
        monkeypatch.setattr(caching, name, 0.0)
    raw(server).flushall()
    return server


@pytest.fixture(params=["off", "redis"])
def either(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("on")
    return str(request.param)


def raw(server: PrivateRedis) -> Any:
    return redis.Redis.from_url(server.url, decode_responses=True)


def eventually(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


# What holds whether Redis is on or off.


def test_an_unknown_key_is_a_miss(either: str) -> None:
    assert cache.get("nothing") is None
    assert cache.delete("nothing") is False
    assert cache.delete_many([]) == cache.delete_many(["a", "b"]) == 0


def test_setting_says_whether_it_was_stored(either: str) -> None:
    stored = cache.set("user:1", {"id": 1}, ttl=60)
    assert stored is (either == "redis")
    assert cache.get("user:1") == ({"id": 1} if stored else None)
    assert cache.delete("user:1") is stored
    assert cache.get("user:1") is None


@pytest.mark.parametrize("value", [{"a": [1, "x", None]}, "text", 5, 0, False, None, [], {}, ""])
def test_a_computed_value_is_what_compute_gave(either: str, value: Any) -> None:
    assert cache.get_or_compute("k", lambda: value, ttl=60) == value


def test_an_error_of_compute_is_the_callers_and_nothing_is_stored(either: str) -> None:
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("k", lambda: 1 // 0, ttl=60)
    assert cache.get("k") is None
    assert cache.get_or_compute("k", lambda: "second", ttl=60, wait=0) == "second"


@pytest.mark.parametrize("value", [Decimal("1.5"), datetime.now(UTC), object(), {1, 2}, float("nan"), b"x"])
def test_what_json_cannot_hold_is_not_stored_and_never_raises(either: str, value: Any) -> None:
    assert cache.set("k", value) is False
    assert cache.get("k") is None
    assert cache.get_or_compute("k", lambda: value, ttl=60) is value
    assert cache.get("k") is None


def test_off_computes_each_time() -> None:
    computed: list[int] = []
    for _ in range(3):
        cache.get_or_compute("k", lambda: computed.append(1), ttl=60)
    assert len(computed) == 3


def test_switching_it_on_takes_effect_at_the_next_call(on: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set("k", 1)
    monkeypatch.setenv("REDIS_ENABLED", "false")
    assert cache.get("k") is None
    monkeypatch.setenv("REDIS_ENABLED", "true")
    assert cache.get("k") == 1


# What Redis sees.


def test_keys_carry_our_prefix_and_expire(on: PrivateRedis) -> None:
    cache.set("user:1", [1], ttl=3600)
    cache.set("default", [1])
    cache.get_or_compute("stats:1", lambda: 1, ttl=0.5)
    client = raw(on)
    assert sorted(client.keys()) == ["counterfoil:default", "counterfoil:stats:1", "counterfoil:user:1"]
    assert 3_590_000 < client.pttl("counterfoil:user:1") <= 3_600_000
    assert 290_000 < client.pttl("counterfoil:default") <= 300_000
    assert 0 < client.pttl("counterfoil:stats:1") <= 500


def test_a_ttl_that_is_over_already_deletes(on: PrivateRedis) -> None:
    cache.set("k", 1)
    assert cache.set("k", 2, ttl=0) is False
    assert cache.get("k") is None


def test_an_expired_value_is_a_miss(on: PrivateRedis) -> None:
    cache.set("k", 1, ttl=0.001)
    eventually(lambda: cache.get("k") is None)


def test_values_come_back_as_json_gives_them(on: PrivateRedis) -> None:
    cache.set("k", {"pair": (1, 2), 3: "three"})
    assert cache.get("k") == {"pair": [1, 2], "3": "three"}


def test_several_keys_are_deleted_at_once(on: PrivateRedis) -> None:
    for name in "abc":
        cache.set(name, name)
    assert cache.delete_many(name for name in "abx") == 2
    assert cache.get("c") == "c"


def test_a_computed_value_can_be_read_and_a_read_one_is_not_computed(on: PrivateRedis) -> None:
    cache.get_or_compute("k", lambda: {"n": 1}, ttl=60)
    assert cache.get("k") == {"n": 1}
    cache.set("k", {"n": 2}, ttl=60)
    assert cache.get_or_compute("k", lambda: pytest.fail("computed"), ttl=60) == {"n": 2}


@pytest.mark.parametrize("value", [0, False, None, "", [], {}])
def test_a_falsy_value_is_a_hit(on: PrivateRedis, value: Any) -> None:
    cache.get_or_compute("k", lambda: value, ttl=60)
    assert cache.get_or_compute("k", lambda: pytest.fail("computed"), ttl=60) == value


@pytest.mark.parametrize("content", ["not json", "5", "[1]", '{"a": 1, "b": 2}', '["a", "b"]'])
def test_content_that_is_not_ours_is_a_miss_and_is_replaced(on: PrivateRedis, content: str) -> None:
    raw(on).set("counterfoil:k", content)
    assert cache.get("k") is None
    assert cache.get_or_compute("k", lambda: "ours", ttl=60) == "ours"
    assert cache.get("k") == "ours"


# Single flight.


def test_many_threads_compute_once(on: PrivateRedis) -> None:
    computed: list[int] = []
    gate = threading.Barrier(20)

    def slow() -> str:
        computed.append(1)
        time.sleep(0.05)
        return "value"

    def ask(_: int) -> str:
        gate.wait()
        return cache.get_or_compute("k", slow, ttl=60)

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(20))) == {"value"}
    assert len(computed) == 1


def test_who_saw_a_miss_before_somebody_stored_takes_what_was_stored(
    on: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = caching._lock

    def overtaken(client: Any, key: str, seen: str, seconds: float) -> str:
        cache.set("k", "stored meanwhile")
        return lock(client, key, seen, seconds)

    monkeypatch.setattr(caching, "_lock", overtaken)
    assert cache.get_or_compute("k", lambda: pytest.fail("computed"), ttl=60) == "stored meanwhile"


def test_many_processes_compute_once(on: PrivateRedis) -> None:
    program = textwrap.dedent("""
        import sys, time
        from core import cache

        def slow():
            print("computed", flush=True)
            time.sleep(0.2)
            return 7

        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(20):
            assert cache.get_or_compute(f"k{n}", slow if n == 0 else (lambda: 7), ttl=60, wait=60) == 7
    """)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    told = ""
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        told += racer.communicate(timeout=60)[0]
        assert racer.returncode == 0
    assert told == "computed\n"


def test_a_waiter_computes_for_itself_after_its_bound(on: PrivateRedis) -> None:
    raw(on).set("counterfoil-lock:k", "somebody", px=60_000)
    assert cache.get_or_compute("k", lambda: "mine", ttl=60, wait=0.05) == "mine"
    assert raw(on).get("counterfoil-lock:k") == "somebody"  # whose turn it still is
    assert cache.get("k") is None


def test_a_computing_caller_that_died_holds_nobody_up_for_longer_than_its_lock(on: PrivateRedis) -> None:
    raw(on).set("counterfoil-lock:k", "the dead", px=100)
    assert cache.get_or_compute("k", lambda: "next", ttl=60, wait=60) == "next"
    assert cache.get("k") == "next"


def test_when_compute_fails_the_next_in_line_tries(on: PrivateRedis) -> None:
    waiting = threading.Event()

    def fails() -> str:
        waiting.wait(20)
        raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_compute, "k", fails, 60)
        eventually(lambda: bool(raw(on).exists("counterfoil-lock:k")))
        second = pool.submit(cache.get_or_compute, "k", lambda: "second", 60, wait=60)
        waiting.set()
        assert second.result() == "second"
        with pytest.raises(ZeroDivisionError):
            first.result()


def test_what_was_computed_before_an_invalidation_does_not_outlive_it(on: PrivateRedis) -> None:
    def changed_meanwhile() -> str:
        cache.delete("k")
        return "old"

    assert cache.get_or_compute("k", changed_meanwhile, ttl=60) == "old"
    assert cache.get("k") is None


def test_a_lost_lock_does_not_release_the_next_ones(on: PrivateRedis) -> None:
    def taken_over() -> str:
        raw(on).set("counterfoil-lock:k", "the next")
        return "late"

    assert cache.get_or_compute("k", taken_over, ttl=60) == "late"
    assert raw(on).get("counterfoil-lock:k") == "the next"
    assert cache.get("k") is None


# Early recomputation.


@pytest.fixture
def near_its_end(on: PrivateRedis) -> PrivateRedis:
    """A value that took an hour to compute and lives for another minute."""
    raw(on).set("counterfoil:k", '["old",3600]', px=60_000)
    return on


def test_a_value_near_its_end_is_computed_again_by_one_caller(
    near_its_end: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.5)
    with ThreadPoolExecutor(4) as pool:

        def compute() -> str:
            others = [pool.submit(cache.get_or_compute, "k", lambda: "twice", 60) for _ in range(3)]
            assert [other.result() for other in others] == ["old"] * 3
            return "new"

        assert cache.get_or_compute("k", compute, ttl=60) == "new"
    assert cache.get("k") == "new"


def test_the_dice_and_the_cost_decide_how_early(near_its_end: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.01)  # 3600 s x -log(0.99) = 36 s, less than is left
    assert cache.get_or_compute("k", lambda: "new", ttl=60) == "old"
    assert cache.get_or_compute("k", lambda: "new", ttl=60, early=2) == "new"


def test_early_0_never_computes_early(near_its_end: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.999999)
    assert cache.get_or_compute("k", lambda: "new", ttl=60, early=0) == "old"


def test_an_error_while_computing_early_leaves_the_value_that_is_still_good(
    near_its_end: PrivateRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.5)
    assert cache.get_or_compute("k", lambda: str(1 // 0), ttl=60) == "old"
    assert [record.message for record in caplog.records if record.exc_info] == [
        "not computed early, the old value is still good"
    ]
    assert cache.get("k") == "old"


def test_the_cost_is_kept_beside_the_value(on: PrivateRedis) -> None:
    cache.get_or_compute("k", lambda: time.sleep(0.02), ttl=60)
    value, cost = json.loads(raw(on).get("counterfoil:k"))
    assert value is None
    assert cost >= 0.02


# What Redis may do to us.


def every_call() -> list[Any]:
    return [
        cache.get("k"), cache.set("k", 1), cache.delete("k"), cache.delete_many(["k"]),
        cache.get_or_compute("k", lambda: "computed", ttl=60),
    ]  # fmt: skip


NOTHING = [None, False, False, 0, "computed"]


def test_a_redis_that_is_down_is_a_miss_and_one_warning(on: PrivateRedis, caplog: pytest.LogCaptureFixture) -> None:
    on.stop()
    try:
        with collecting() as crumbs:
            assert every_call() == NOTHING
            assert every_call() == NOTHING
    finally:
        on.start()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.message for record in warnings] == ["the cache does not answer: misses until it does"]
    assert warnings[0].__dict__["key"] == "k"
    assert crumbs[0]["message"] == "cache failed"
    assert (crumbs[0]["category"], crumbs[0]["data"]) == ("cache", {"action": "get", "key": "k"})


def test_a_redis_that_came_back_is_used_again(on: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set("k", 1)
    on.stop()
    assert cache.get("k") is None
    on.start()
    monkeypatch.setattr(caching, "_leave_alone_until", 0.0)
    assert cache.set("k", 2)
    assert cache.get("k") == 2


def test_a_restart_between_two_calls_is_not_even_a_miss(on: PrivateRedis) -> None:
    cache.set("a", 1)
    on.stop()
    on.start()
    assert cache.set("a", 2)


def test_a_redis_that_is_down_is_left_alone_for_a_while_but_still_told_to_forget(
    on: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set("k", 1)
    monkeypatch.setattr(caching, "_leave_alone_until", time.monotonic() + 1000)
    assert cache.get("k") is None
    assert cache.set("k", 2) is False
    assert cache.delete("k") is True


def test_waiting_for_redis_is_bounded_shortly(on: PrivateRedis) -> None:
    cache.get("k")
    options = caching._connected().connection_pool.connection_kwargs
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (0.25, 0.5)


def test_a_redis_that_answers_nothing_is_a_miss(on: PrivateRedis) -> None:
    cache.set("k", 1)
    on.freeze()
    try:
        assert cache.get("k") is None
    finally:
        on.thaw()


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1", "redis://no-such-host.invalid", "nonsense://", "redis://:x@{}/0"]
)
def test_a_wrong_address_or_password_is_a_miss(url: str, on: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    raw(on).config_set("requirepass", "secret" if "{}" in url else "")
    try:
        monkeypatch.setenv("REDIS_URL", url.format(f"127.0.0.1:{on.port}"))
        assert every_call() == NOTHING
    finally:
        redis.Redis(port=on.port, password="secret" if "{}" in url else None).config_set("requirepass", "")


def test_a_full_redis_is_a_miss(on: PrivateRedis) -> None:
    client = raw(on)
    client.config_set("maxmemory", 1)
    try:
        assert cache.set("k", 1) is False
        assert cache.get_or_compute("k", lambda: "computed", ttl=60) == "computed"
    finally:
        client.config_set("maxmemory", 0)


def test_more_threads_than_connections_wait_their_turn(on: PrivateRedis) -> None:
    cache.set("k", 1)
    with ThreadPoolExecutor(caching.CONNECTIONS * 2) as pool:
        assert set(pool.map(lambda _: cache.get("k"), range(2000))) == {1}
    assert len(raw(on).client_list()) <= caching.CONNECTIONS + 5


def test_a_forked_child_uses_connections_of_its_own(on: PrivateRedis) -> None:
    program = textwrap.dedent("""
        import os
        from core import cache, caching
        assert cache.set("parent", 0)
        children = []
        for me in range(4):
            pid = os.fork()
            if pid == 0:
                cache.get("parent")
                if caching._client[0][0] != os.getpid():
                    os._exit(2)
                for n in range(300):
                    if not cache.set(f"key{me}", [me, n]) or cache.get(f"key{me}") != [me, n]:
                        os._exit(1)
                os._exit(0)
            children.append(pid)
        for n in range(300):
            assert cache.set("parent", n) and cache.get("parent") == n
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=os.environ, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
