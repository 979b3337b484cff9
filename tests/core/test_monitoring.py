"""The monitor: the same calls with Sentry on and off, and what Sentry then holds."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sentry_sdk

from core import get_logger, logs, monitor, monitoring
from core.monitoring import collecting
from core.settings import ROOT
from tests.core.private_redis import PrivateRedis
from tests.core.sentry_sink import Sink, switched_on

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with switched_on(monkeypatch) as running:
        yield running


@pytest.fixture(params=["off", "sentry"])
def either(request: pytest.FixtureRequest) -> str:
    if request.param == "sentry":
        request.getfixturevalue("sink")
    return str(request.param)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - so that it has a traceback
        return caught


# What holds whether Sentry is on or off.


def test_no_call_raises_and_all_work_in_any_order(either: str) -> None:
    monitor.start()
    monitor.set_user(user_id="7", email="jo@example.com", username="jo")
    monitor.add_breadcrumb("Checkout started", category="commerce", data={"cart_id": 7})
    with monitor.trace("outer"), monitor.trace("inner", op="db"):
        event_id = monitor.capture_exception(raised(ValueError("x")), context={"order_id": 7})
    assert (event_id is None) is (either == "off")
    monitor.capture_exception()
    monitor.set_user()
    monitor.flush(0.1)


def test_an_error_inside_a_trace_is_the_callers(either: str) -> None:
    with pytest.raises(ZeroDivisionError), monitor.trace("outer"), monitor.trace("inner"):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), monitor.continue_trace(PARENT, "job"):
        raise ZeroDivisionError


def test_breadcrumbs_are_collected(either: str) -> None:
    monitor.add_breadcrumb("before")
    with collecting() as crumbs:
        monitor.add_breadcrumb("Cart loaded", category="db", data={"items": 3, "api_key": "sk_test_abc"})
        with collecting() as inner:
            monitor.add_breadcrumb("inside 4242424242424242")
        monitor.add_breadcrumb("again")
    monitor.add_breadcrumb("after")
    assert [crumb["message"] for crumb in crumbs] == ["Cart loaded", "again"]
    assert [crumb["message"] for crumb in inner] == ["inside [redacted]"]
    assert (crumbs[0]["category"], crumbs[0]["data"]) == ("db", {"items": 3, "api_key": "[redacted]"})
    assert (crumbs[1]["category"], crumbs[1]["data"]) == ("default", None)
    assert timedelta(0) <= datetime.now(UTC) - crumbs[0]["at"] < timedelta(hours=1)
    json.dumps(crumbs, default=str)


def test_breadcrumbs_of_another_context_are_not_ours(either: str) -> None:
    with collecting() as crumbs:
        Context().run(monitor.add_breadcrumb, "elsewhere")
    assert crumbs == []


def test_collected_personal_data_is_masked_outside_dev(either: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    monkeypatch.setenv("SECRET_KEY", "k" * 32)
    with collecting() as crumbs:
        monitor.add_breadcrumb("mail to jo@example.com", data={"email": "jo@example.com"})
    assert (crumbs[0]["message"], crumbs[0]["data"]) == ("mail to [masked]", {"email": "[masked]"})


def test_a_trace_is_carried_on(either: str) -> None:
    with monitor.continue_trace(PARENT, "job"):
        handed_on = monitor.traceparent()
        assert logs.bound()["trace_id"] == TRACE
    assert handed_on
    assert handed_on.split("-")[1] == TRACE
    assert (handed_on == PARENT) is (either == "off")  # with Sentry on, our own span is the next one's parent
    assert "trace_id" not in logs.bound()


@pytest.mark.parametrize(
    "given", [None, "", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", PARENT.upper(), PARENT + "x"]
)
def test_a_malformed_trace_begins_a_new_one(either: str, given: str | None) -> None:
    with monitor.continue_trace(given, "job"):
        handed_on = monitor.traceparent()
        assert "trace_id" not in logs.bound()
    assert (handed_on is None) is (either == "off")
    assert TRACE not in (handed_on or "")


def test_off_there_is_no_trace_to_hand_on() -> None:
    assert monitor.traceparent() is None
    with monitor.trace("outer"):
        assert monitor.traceparent() is None


# What Sentry then holds.


def test_an_error_comes_with_context_user_breadcrumbs_and_bound_fields(sink: Sink) -> None:
    monitor.set_user(user_id="7", email="jo@example.com", username="jo")
    monitor.add_breadcrumb("Checkout started", category="commerce", data={"cart_id": 7})
    get_logger("shop").warning("Low stock", extra={"item": 5})
    with logs.bind(request_id="r1"):
        event_id = monitor.capture_exception(raised(ValueError("no card")), context={"order_id": 7, "n": [1]})
    (event,) = sink.events()
    assert event["event_id"] == event_id
    error = event["exception"]["values"][0]
    assert (error["type"], error["value"]) == ("ValueError", "no card")
    assert error["stacktrace"]["frames"][-1]["function"] == "raised"
    assert event["contexts"]["context"] == {"order_id": 7, "n": [1]}
    assert event["user"] == {"id": "7", "email": "jo@example.com", "username": "jo"}
    assert event["tags"] == {"request_id": "r1"}
    crumbs = event["breadcrumbs"]["values"]
    assert (crumbs[0]["message"], crumbs[0]["category"], crumbs[0]["data"]) == (
        "Checkout started",
        "commerce",
        {"cart_id": 7},
    )
    assert (crumbs[1]["message"], crumbs[1]["category"]) == ("Low stock", "shop")
    assert event["environment"] == "dev"


def test_the_error_being_handled_needs_no_name(sink: Sink) -> None:
    try:
        raise KeyError("order")
    except KeyError:
        monitor.capture_exception()
    assert sink.events()[0]["exception"]["values"][0]["type"] == "KeyError"


def test_capturing_and_logging_an_error_makes_one_event(sink: Sink) -> None:
    error = raised(ValueError("x"))
    monitor.capture_exception(error)
    get_logger("shop").error("Payment failed", extra={"error": str(error)})
    monitor.capture_exception(raised(KeyError("second")))
    assert [event["exception"]["values"][0]["type"] for event in sink.events(2)] == ["ValueError", "KeyError"]


def test_nothing_secret_leaves(sink: Sink) -> None:
    def pay(pin: str) -> None:  # a frame's variables are not sent
        raise ValueError("refused sk_live_abc whsec_abc")

    monitor.add_breadcrumb("paid with 4242424242424242", data={"client_secret": "abc", "note": "Bearer abcdefgh"})
    with monitor.trace("GET /?token=abcdef"):
        try:
            pay(f"hunter{1 + 1}")  # which no source line shows
        except ValueError as error:
            monitor.capture_exception(error, context={"password": "abc", "deep": [{"cvc": 123}]})
    sink.events()
    sink.transactions()
    sent = "".join(sink.bodies)
    assert "[redacted]" in sent
    for secret in ("4242", "abc", "sk_live", "whsec", "hunter2", '"cvc": 123'):
        assert secret not in sent


def test_traces_nest(sink: Sink) -> None:
    with monitor.trace("dashboard", op="page"):
        with monitor.trace("orders", op="db"), monitor.trace("rows"):
            pass
        with monitor.trace("recommendations"):
            pass
    (transaction,) = sink.transactions()
    root = transaction["contexts"]["trace"]
    spans = {span["description"]: span for span in transaction["spans"]}
    assert (transaction["transaction"], root["op"]) == ("dashboard", "page")
    assert {name: span["op"] for name, span in spans.items()} == {
        "orders": "db", "rows": "function", "recommendations": "function",
    }  # fmt: skip
    assert spans["orders"]["parent_span_id"] == spans["recommendations"]["parent_span_id"] == root["span_id"]
    assert spans["rows"]["parent_span_id"] == spans["orders"]["span_id"]
    assert {span["trace_id"] for span in spans.values()} == {root["trace_id"]}


def test_a_failed_trace_says_so(sink: Sink) -> None:
    with pytest.raises(ZeroDivisionError), monitor.trace("outer"):
        raise ZeroDivisionError
    assert sink.transactions()[0]["contexts"]["trace"]["status"] == "internal_error"


def test_a_carried_trace_is_one_trace(sink: Sink) -> None:
    with monitor.trace("request"):
        handed_on = monitor.traceparent()
    Context().run(work, handed_on)
    first, second = sink.transactions(2)
    assert second["transaction"] == "payments.create"
    assert second["contexts"]["trace"]["trace_id"] == first["contexts"]["trace"]["trace_id"]
    assert second["contexts"]["trace"]["parent_span_id"] == first["contexts"]["trace"]["span_id"]
    assert second["spans"][0]["description"] == "inner"


def work(traceparent: str | None) -> None:
    with monitor.continue_trace(traceparent, "payments.create"), monitor.trace("inner"):
        pass


def test_what_a_job_sets_stays_with_the_job(sink: Sink) -> None:
    with monitor.continue_trace(None, "job"):
        monitor.set_user(user_id="7")
        monitor.add_breadcrumb("inside")
        monitor.capture_exception(raised(ValueError("in")))
    monitor.capture_exception(raised(ValueError("out")))
    inside, outside = sink.events(2)
    assert inside["user"] == {"id": "7"}
    assert "user" not in outside
    assert "inside" not in json.dumps(outside)


def test_the_sample_rate_is_obeyed(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRY_TRACES_SAMPLE_RATE", "0")
    monkeypatch.setenv("SENTRY_ENVIRONMENT", "somewhere")
    with monitor.trace("unseen"):
        monitor.capture_exception(raised(ValueError("seen")))
    monitor.flush()
    assert [kind for kind, _ in sink.items] == ["event"]
    assert sink.events()[0]["environment"] == "somewhere"


def test_switching_it_off_takes_effect_at_the_next_call(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor.capture_exception(raised(ValueError("on")))
    monkeypatch.setenv("SENTRY_ENABLED", "false")
    assert monitor.capture_exception(raised(ValueError("off"))) is None
    monkeypatch.setenv("SENTRY_ENABLED", "true")
    monitor.capture_exception(raised(KeyError("on again")))
    assert [event["exception"]["values"][0]["type"] for event in sink.events(2)] == ["ValueError", "KeyError"]


def test_a_sentry_that_refuses_or_is_gone_is_nobodys_problem(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    sink.status = 500
    assert monitor.capture_exception(raised(ValueError("x")))
    monitor.flush()
    monkeypatch.setenv("SENTRY_DSN", "http://key@127.0.0.1:1/1")
    with monitor.trace("outer"):
        assert monitor.capture_exception(raised(ValueError("x")))
    monitor.flush()


@pytest.mark.parametrize("variables", [{}, {"SENTRY_DSN": "nonsense"}, {"SENTRY_DSN": "http://key@h/1", "PORT": "x"}])
def test_a_sentry_that_cannot_start_is_one_warning(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(monitoring, "_started", None)
    for name, value in {"SENTRY_ENABLED": "true", **variables}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        monitor.add_breadcrumb("x")
        monitor.set_user(user_id="7")
        assert monitor.capture_exception(raised(ValueError("x"))) is None
        assert monitor.traceparent() is None
        with monitor.trace("t"), monitor.continue_trace(PARENT, "j"):
            pass
    assert caplog.messages == ["Sentry could not be started"]


def test_a_failing_sdk_never_fails_the_caller(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.start()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the SDK has a bug")

    for name in (
        "capture_exception", "new_scope", "set_user", "add_breadcrumb", "start_transaction", "get_current_span",
        "get_traceparent", "continue_trace", "isolation_scope", "flush",
    ):  # fmt: skip
        monkeypatch.setattr(sentry_sdk, name, broken)
    done = []
    assert monitor.capture_exception(raised(ValueError("x"))) is None
    monitor.set_user(user_id="7")
    monitor.add_breadcrumb("x")
    monitor.flush()
    assert monitor.traceparent() is None
    with monitor.trace("t"):
        done.append("trace")
    with monitor.continue_trace(PARENT, "j"):
        done.append("job")
    assert done == ["trace", "job"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def run(program: str, sink: Sink, **variables: str) -> str:
    """Run a program of its own with Sentry on."""
    environment = {
        **os.environ, "SENTRY_ENABLED": "true", "SENTRY_DSN": sink.dsn, "SENTRY_TRACES_SAMPLE_RATE": "1", **variables,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_forked_child_reports_by_itself() -> None:
    program = """
        import os
        from core import monitor
        monitor.capture_exception(ValueError("parent"))
        pid = os.fork()
        if pid == 0:
            monitor.capture_exception(ValueError("child"))
            monitor.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        monitor.flush()
    """
    with Sink() as sink:
        run(program, sink)
        assert sorted(event["exception"]["values"][0]["value"] for event in sink.events(2)) == ["child", "parent"]


def test_flask_celery_redis_and_sqlalchemy_are_traced(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = """
        from core import cache, monitor
        monitor.start()
        import celery, flask, sqlalchemy

        engine = sqlalchemy.create_engine("sqlite://")
        app = flask.Flask("shop")

        @app.get("/checkout")
        def checkout():
            cache.set("k", 1)
            with engine.connect() as conn:
                conn.execute(sqlalchemy.text("SELECT 7"))
            raise ValueError("in the request")

        app.test_client().get("/checkout?password=hunter2", headers={"Authorization": "Bearer hunter2hunter2"})

        worker = celery.Celery("shop", broker="memory://")

        @worker.task(name="payments.create")
        def create():
            raise KeyError("in the task")

        create.apply()
        monitor.flush()
    """
    redis = PrivateRedis(tmp_path_factory.mktemp("redis"))
    try:
        with Sink() as sink:
            run(program, sink, REDIS_ENABLED="true", REDIS_URL=redis.url)
            errors = {event["exception"]["values"][-1]["type"]: event for event in sink.events(2)}
            traces = {trace["transaction"]: trace for trace in sink.transactions(2)}
            sent = "".join(sink.bodies)
    finally:
        redis.stop()
    assert errors["ValueError"]["exception"]["values"][-1]["mechanism"]["type"] == "flask"
    assert errors["KeyError"]["exception"]["values"][-1]["mechanism"]["type"] == "celery"
    ops = {span["op"] for span in traces["checkout"]["spans"]}
    assert {"db", "db.redis"} <= ops
    assert "payments.create" in traces
    assert "hunter2" not in sent
