from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic, sleep

import pytest

from core.domain.jobs import FAILED, PAYMENT_CREATE, QUEUED, WEBHOOK_PROCESS, Accepted, JobKind
from tests.web.shop import Recorder
from web import hints
from web.hints import MOST_IDS, Publisher
from web.metrics import HINTS_DROPPED, HINTS_SENT


class Gate(Recorder):
    """A broker whose first message takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.sending, self.open = Event(), Event()

    def send(self, kind: JobKind, ids: Sequence[str]) -> None:
        """Keep a message once the gate is open."""
        self.sending.set()
        assert self.open.wait(20)
        super().send(kind, ids)


class Dead(Recorder):
    """A broker that refuses until it is repaired."""

    def __init__(self) -> None:
        super().__init__()
        self.refused, self.closed, self.repaired = 0, 0, False

    def send(self, kind: JobKind, ids: Sequence[str]) -> None:
        """Refuse, or keep a message."""
        if not self.repaired:
            self.refused += 1
            raise ConnectionError("nobody is there")
        super().send(kind, ids)

    def close(self) -> None:
        """Count."""
        self.closed += 1


def eventually(holds: Callable[[], bool]) -> bool:
    until = monotonic() + 20
    while monotonic() < until and not holds():
        sleep(0.005)
    return holds()


def value(counter: object) -> float:
    return float(counter._value.get())  # type: ignore[attr-defined]  # prometheus_client offers no other way


def test_a_lone_hint_leaves_at_once_and_alone() -> None:
    broker = Recorder()
    publisher = Publisher(broker)

    for job_id in ("1", "2", "3"):
        publisher.hint(PAYMENT_CREATE, job_id)
        assert publisher.flush()

    assert broker.messages == [(PAYMENT_CREATE, [job_id]) for job_id in ("1", "2", "3")]


def test_what_arrives_while_a_message_is_sent_is_the_next_message() -> None:
    broker = Gate()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "first")
    assert broker.sending.wait(20)

    for number in range(30):
        publisher.hint(PAYMENT_CREATE, str(number))
    broker.open.set()

    assert publisher.flush()
    assert broker.messages[1:] == [(PAYMENT_CREATE, [str(number) for number in range(30)])]


def test_a_message_has_one_kind_and_a_bounded_number_of_ids() -> None:
    broker = Gate()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "first")
    assert broker.sending.wait(20)

    for number in range(MOST_IDS + 10):
        publisher.hint(PAYMENT_CREATE, f"p{number}")
    publisher.hint(WEBHOOK_PROCESS, "w")
    broker.open.set()

    assert publisher.flush()
    assert [(kind, len(ids)) for kind, ids in broker.messages[1:]] == [
        (PAYMENT_CREATE, MOST_IDS),
        (WEBHOOK_PROCESS, 1),
        (PAYMENT_CREATE, 10),
    ]


def test_under_load_a_message_waits_a_little_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "LONGEST_LINGER", 3600.0)
    monkeypatch.setattr(hints, "LINGER", 3600.0)
    monkeypatch.setattr(hints, "MOST_IDS", 3)
    broker = Gate()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "first")
    assert broker.sending.wait(20)
    for job_id in "abc":
        publisher.hint(PAYMENT_CREATE, job_id)
    broker.open.set()
    assert publisher.flush()

    publisher.hint(PAYMENT_CREATE, "d")
    assert publisher.flush(0.05) is False
    publisher.hint(PAYMENT_CREATE, "e")
    publisher.hint(PAYMENT_CREATE, "f")

    assert publisher.flush(20)
    assert [ids for _, ids in broker.messages] == [["first"], ["a", "b", "c"], ["d", "e", "f"]]


def test_a_job_hinted_twice_is_sent_once() -> None:
    broker = Gate()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "first")
    assert broker.sending.wait(20)

    publisher.hint(PAYMENT_CREATE, "same")
    publisher.hint(PAYMENT_CREATE, "same")
    broker.open.set()

    assert publisher.flush()
    assert broker.messages[1:] == [(PAYMENT_CREATE, ["same"])]


def test_a_slow_broker_never_blocks_and_bounds_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "MOST_WAITING", 100)
    broker = Gate()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "first")
    assert broker.sending.wait(20)
    dropped = value(HINTS_DROPPED)

    for number in range(150):
        publisher.hint(PAYMENT_CREATE, str(number))

    assert value(HINTS_DROPPED) - dropped == 50
    broker.open.set()
    assert publisher.flush()
    assert len(broker.ids) == 101


def test_a_dead_broker_costs_the_hints_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    broker = Dead()
    publisher = Publisher(broker)
    dropped = value(HINTS_DROPPED)

    publisher.hint(PAYMENT_CREATE, "1")
    assert publisher.flush()
    publisher.hint(PAYMENT_CREATE, "2")

    assert eventually(lambda: broker.refused == 2)
    assert eventually(lambda: value(HINTS_DROPPED) - dropped == 2)
    assert publisher.failing
    assert broker.closed == 2
    assert len([record for record in caplog.records if record.name == "web.hints"]) == 1


def test_a_broker_that_comes_back_is_used_again() -> None:
    broker = Dead()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "lost")
    assert publisher.flush()
    assert eventually(lambda: publisher.failing)
    broker.repaired = True
    sent = value(HINTS_SENT.labels(PAYMENT_CREATE.name))

    publisher.hint(PAYMENT_CREATE, "kept")

    assert publisher.flush(20)
    assert eventually(lambda: not publisher.failing)
    assert broker.messages == [(PAYMENT_CREATE, ["kept"])]
    assert value(HINTS_SENT.labels(PAYMENT_CREATE.name)) - sent == 1


def test_a_flush_ends_although_the_broker_does_not_answer() -> None:
    broker = Gate()
    publisher = Publisher(broker)
    publisher.hint(PAYMENT_CREATE, "stuck")

    assert publisher.flush(0.05) is False
    broker.open.set()
    assert publisher.flush()


@pytest.mark.parametrize(("status", "fresh", "hints_sent"), [(QUEUED, True, 1), (QUEUED, False, 1), (FAILED, False, 0)])
def test_only_a_job_that_waits_is_hinted(hinted: Recorder, status: str, fresh: bool, hints_sent: int) -> None:
    hints.send(Accepted("1", PAYMENT_CREATE, None, status, fresh))

    assert hints.publisher().flush()
    assert len(hinted.ids) == hints_sent
