"""The logger: structured, bound, redacted, and never a reason for a program to fail."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from core import get_logger, log_db_query, log_error, log_request, logs
from core.logformats import Output
from core.settings import ROOT

logger = get_logger("shop.checkout")


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Each test finds the standard library's logging as it was."""
    before = (logging.root.level, list(logging.root.handlers), logs._level)
    logging.root.setLevel(logging.WARNING)  # also forgets which levels were found enabled
    yield
    logging.root.handlers[:] = before[1]
    logs._level = before[2]
    logging.root.setLevel(before[0])


class Lines:
    """What was written to standard error since the last look."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self) -> str:
        return self._capsys.readouterr().err

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def one(self) -> dict[str, Any]:
        (line,) = self.json()
        return line


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    logs.configure()


def leave_only_ours() -> None:
    """Remove pytest's own handlers, which raise what cannot be formatted; the next phase of the test has its own."""
    logging.root.handlers[:] = [handler for handler in logging.root.handlers if isinstance(handler, Output)]


@pytest.mark.usefixtures("configured")
def test_a_line_is_one_json_object_with_the_extras_as_fields(lines: Lines) -> None:
    logger.info("Payment created for %s", "order 7", extra={"amount": 1050, "intent_id": "pi_1", "tags": ["a"]})
    line = lines.one()
    moment = line.pop("timestamp")
    assert line == {
        "level": "INFO", "logger": "shop.checkout", "message": "Payment created for order 7",
        "amount": 1050, "intent_id": "pi_1", "tags": ["a"],
    }  # fmt: skip
    assert moment.endswith("Z")
    assert len(moment) == len("2026-01-02T03:04:05.678Z")


@pytest.mark.usefixtures("configured")
def test_fields_that_a_record_cannot_hold_are_kept_under_another_name(lines: Lines) -> None:
    taken = {"message": 1, "name": 2, "args": 3, "level": 4, "exc_info": 5, "timestamp": 6, "logger": 7, 8: 9}
    logger.info("still here", extra=taken)  # type: ignore[arg-type]  # any caller may do this
    line = lines.one()
    assert line["message"] == "still here"
    assert [line[f"{name}_"] for name in list(taken)[:-1]] == [1, 2, 3, 4, 5, 6, 7]
    assert line["8"] == 9


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("message", "args", "extra", "shown"),
    [
        ("%d items", ("x",), None, "%d items x"),
        ("%s %s", (1,), None, "%s %s 1"),
        ("100%", (), None, "100%"),
        ("hello", ("unexpected",), None, "hello unexpected"),
        ({"a": 1}, (), None, "{'a': 1}"),
        (None, (), None, "None"),
        (Unprintable(), (), None, "<unprintable Unprintable: RuntimeError>"),
        ("%s", (Unprintable(),), None, "%s <unprintable Unprintable: RuntimeError>"),
        ("odd", (), ["not", "a", "mapping"], "odd"),
        ("odd", (), {"o": Unprintable()}, "odd"),
        ("odd \udcff", (), {"o": b"\xff"}, "odd \udcff"),
    ],
)
def test_no_argument_breaks_a_log_call(
    message: object, args: tuple[Any, ...], extra: Any, shown: str, lines: Lines
) -> None:
    leave_only_ours()
    logger.warning(message, *args, extra=extra)
    assert lines.one()["message"] == shown


@pytest.mark.usefixtures("configured")
def test_a_record_of_others_is_redacted_and_even_a_broken_one_leaves_a_line(lines: Lines) -> None:
    leave_only_ours()
    logging.root.handle(
        logging.makeLogRecord({"msg": "from afar", "levelno": 40, "exc_text": "Traceback ... sk_live_abc"})
    )
    assert lines.one()["exception"] == "Traceback ... [redacted]"
    logging.root.handle(logging.makeLogRecord({"msg": "x", "levelno": 40, "created": None}))
    assert lines.one() == {"level": "ERROR", "message": "a log record could not be formatted: TypeError"}


@pytest.mark.usefixtures("configured")
def test_a_closed_standard_error_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/null", "w", encoding="utf-8") as gone:  # noqa: PTH123 - it is only there to be closed
        pass
    for stream in (gone, None):
        monkeypatch.setattr(sys, "stderr", stream)
        logger.error("nobody hears this")


@pytest.mark.usefixtures("configured")
def test_secrets_and_cards_are_redacted_wherever_they_are(lines: Lines) -> None:
    try:
        raise ValueError("refused 4242 4242 4242 4242 with sk_live_abc")
    except ValueError:
        logger.exception(
            "card %s", "4242424242424242",
            extra={"api_key": "abc", "note": "Bearer abcdefgh", "deep": [{"client_secret": "abc"}]},
        )  # fmt: skip
    with logs.bind(webhook_secret="abc"):
        logging.getLogger("vendor").warning("password=abc")
    text = lines.text()
    assert "4242" not in text
    assert "abc" not in text
    assert text.count("[redacted]") >= 8
    assert "ValueError: refused [redacted] with [redacted]" in text


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(("app_env", "shown"), [("dev", "jo@example.com"), ("prod", "[masked]")])
def test_personal_data_is_logged_in_dev_and_masked_in_prod(
    app_env: str, shown: str, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_ENV", app_env)
    logger.info("User login", extra={"user_id": 7, "email": "jo@example.com"})
    line = lines.one()
    assert (line["user_id"], line["email"]) == (7, shown)


@pytest.mark.usefixtures("configured")
def test_bound_fields_are_on_every_line_inside_and_on_none_outside(lines: Lines) -> None:
    with logs.bind(request_id="r1", nothing=None):
        with logs.bind(job_id=7):
            assert logs.bound() == {"request_id": "r1", "job_id": "7"}
            logger.info("in", extra={"job_id": "mine"})
            logging.getLogger("vendor").warning("vendor")
        logger.info("half")
    logger.info("out")
    shown = [{name: line.get(name) for name in ("request_id", "job_id")} for line in lines.json()]
    assert shown == [
        {"request_id": "r1", "job_id": "mine"},
        {"request_id": "r1", "job_id": "7"},
        {"request_id": "r1", "job_id": None},
        {"request_id": None, "job_id": None},
    ]


def test_bound_fields_belong_to_one_thread_and_one_task() -> None:
    seen: dict[str, dict[str, str]] = {}

    async def task(name: str) -> None:
        with logs.bind(task=name):
            await asyncio.sleep(0)
            seen[name] = logs.bound()

    async def both() -> None:
        await asyncio.gather(task("a"), task("b"))

    with logs.bind(request_id="r1"):
        asyncio.run(both())
        bare = threading.Thread(target=lambda: seen.update(thread=logs.bound()))
        carried = threading.Thread(target=copy_context().run, args=(lambda: seen.update(carried=logs.bound()),))
        for thread in (bare, carried):
            thread.start()
            thread.join()
    assert seen["a"] == {"request_id": "r1", "task": "a"}
    assert seen["b"] == {"request_id": "r1", "task": "b"}
    assert (seen["thread"], seen["carried"]) == ({}, {"request_id": "r1"})


@pytest.mark.usefixtures("configured")
def test_vendors_speak_from_warning_on_and_we_at_our_level(lines: Lines) -> None:
    for name in ("stripe", "urllib3", "celery.worker"):
        logging.getLogger(name).info("a body")
        logging.getLogger(name).warning("trouble")
    logger.debug("ours")
    assert [line["message"] for line in lines.json()] == ["trouble"] * 3 + ["ours"]


@pytest.mark.parametrize(("level", "heard"), [("WARN", 3), ("warning", 3), ("ERROR", 2), ("INFO", 4), ("DEBUG", 5)])
def test_the_level_comes_from_the_environment(
    level: str, heard: int, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    logs.configure()
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(number, "x")
    assert len(lines.json()) == heard


def test_a_level_set_on_a_logger_or_its_parent_wins(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    logs.configure()
    parent, child = get_logger("loud"), get_logger("loud.child")
    parent.setLevel(logging.DEBUG)
    try:
        child.debug("heard")
    finally:
        parent.setLevel(logging.NOTSET)
    child.debug("not heard")
    assert lines.one()["message"] == "heard"


def test_configuring_again_changes_the_format_and_doubles_nothing(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    logs.configure()
    logs.configure()
    logger.info("json")
    assert lines.one()["message"] == "json"
    monkeypatch.setenv("LOG_FORMAT", "text")
    logs.configure()
    logger.warning("two\nlines \x1b[31m", extra={"amount": 5})
    assert lines.text()[25:] == "WARNING  shop.checkout  two\\nlines \\x1b[31m  amount=5\n"
    assert len([handler for handler in logging.root.handlers if isinstance(handler, Output)]) == 1


def test_text_shows_the_traceback_and_the_stack_below_the_line(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FORMAT", "text")
    logs.configure()
    log_error(logger, ValueError("bad"), context={"order_id": 7})
    logger.info("where", stack_info=True)
    first, second, *rest = lines.text().splitlines()
    assert first[25:] == "ERROR    shop.checkout  ValueError: bad  order_id=7  error=bad  error_type=ValueError"
    assert second == "ValueError: bad"
    assert rest[1] == "Stack (most recent call last):"


def test_an_unconfigured_program_logs_structured_and_redacted_at_log_level() -> None:
    program = (
        "from core import get_logger\n"
        "get_logger('app').info('paid with 4242424242424242', extra={'message': 1, 'token': 'abc'})\n"
        "get_logger('app').debug('no')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    line = json.loads(done.stderr)
    assert (line["message"], line["message_"], line["token"]) == ("paid with [redacted]", 1, "[redacted]")


def test_a_logger_that_others_made_first_is_made_ours_and_theirs_are_left_alone() -> None:
    class Special(logging.Logger):
        pass

    plain = logging.getLogger("made.before")
    assert get_logger("made.before") is plain
    plain.warning("x", extra={"message": 1})
    logging.Logger.manager.loggerDict["made.special"] = special = Special("made.special")
    assert get_logger("made.special") is special
    assert type(special) is Special


def test_records_reach_other_handlers_with_their_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), logs.bind(request_id="r1"):
        logger.debug("seen", extra={"amount": 5})
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["amount"], record.__dict__["request_id"]) == ("seen", 5, "r1")
    assert record.funcName == "test_records_reach_other_handlers_with_their_fields"


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(("status", "level"), [(200, "INFO"), (404, "INFO"), (500, "ERROR"), (503, "ERROR")])
def test_a_request_is_an_error_from_500_on(status: int, level: str, lines: Lines) -> None:
    log_request(logger, "GET", "/orders?token=abc", status, duration_ms=45.2, bytes=12)
    line = lines.one()
    del line["timestamp"]
    assert line == {
        "level": level, "logger": "shop.checkout", "message": f"GET /orders?token=[redacted] {status}",
        "method": "GET", "path": "/orders?token=[redacted]", "status_code": status, "duration_ms": 45.2, "bytes": 12,
    }  # fmt: skip


@pytest.mark.usefixtures("configured")
def test_a_query_is_for_developers(lines: Lines) -> None:
    log_db_query(logger, "SELECT * FROM users WHERE id = ?", duration_ms=23.4, rows=1)
    line = lines.one()
    assert (line["level"], line["query"], line["rows"]) == ("DEBUG", "SELECT * FROM users WHERE id = ?", 1)
    logger.setLevel(logging.INFO)
    try:
        log_db_query(logger, "SELECT 1", duration_ms=1)
    finally:
        logger.setLevel(logging.NOTSET)
    assert lines.json() == []


@pytest.mark.usefixtures("configured")
def test_an_error_is_logged_with_its_context_its_traceback_and_the_caller(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise KeyError("order")
    except KeyError as error:
        log_error(logger, error, context={"user_id": 123, "error": "mine"})
    line = lines.one()
    assert (line["level"], line["error_type"], line["error"], line["user_id"]) == ("ERROR", "KeyError", "'order'", 123)
    assert line["exception"].endswith("KeyError: 'order'")
    assert caplog.records[0].funcName.startswith("test_an_error_is_logged")
