from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from werkzeug.test import TestResponse

from core.database import transaction
from core.domain import timeline
from core.domain.timeline import Note
from tests.web.shop import NOWHERE, Shop, end_job
from web import streams, waiting

STREAM = {"Accept": "text/event-stream"}


def start_job(shop: Shop) -> str:
    return str(shop.post(f"/orders/{shop.order()['id']}/checkout").get_json()["job_id"])


def note(job_id: str, what: str) -> None:
    with transaction() as conn:
        timeline.write(conn, [(job_id, Note(what))])


def events(response: TestResponse) -> Iterator[dict[str, Any]]:
    """Each message of the stream as it comes: its id and its data; a comment as its text."""
    for block in response.iter_encoded():
        text = block.decode()
        assert text.endswith("\n\n")
        if text.startswith(":"):
            yield {"comment": text.strip()}
            continue
        lines = dict(line.split(": ", 1) for line in text.strip().split("\n"))
        yield {"id": int(lines["id"]), **json.loads(lines["data"])}


def follow(shop: Shop, job_id: str, **headers: str) -> TestResponse:
    return shop.client.get(f"/jobs/{job_id}", headers={**shop.auth, **STREAM, **headers}, buffered=False)


def test_a_job_tells_what_happened(shop: Shop) -> None:
    job_id = start_job(shop)
    note(job_id, "claimed")
    end_job(job_id, "failed", error={"type": "declined", "title": "Declined", "status": 402, "detail": "No."})

    job = shop.get(f"/jobs/{job_id}").get_json()

    assert (job["id"], job["status"], job["attempts"], job["result"]) == (job_id, "failed", 0, None)
    assert job["error"]["type"] == "declined"
    assert [event["what"] for event in job["timeline"]] == ["accepted", "claimed"]
    assert job["finished_at"].endswith("Z")


@pytest.mark.parametrize("job_id", [NOWHERE, "7"])
def test_an_unknown_job_is_not_found(shop: Shop, job_id: str) -> None:
    assert shop.get(f"/jobs/{job_id}").status_code == 404
    assert follow(shop, job_id).status_code == 404


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*", "application/json, text/event-stream"])
def test_a_stream_must_be_asked_for(shop: Shop, accept: str) -> None:
    assert shop.get(f"/jobs/{start_job(shop)}", Accept=accept).mimetype == "application/json"


def test_a_stream_tells_each_change_and_ends_with_the_job(shop: Shop) -> None:
    job_id = start_job(shop)
    response = follow(shop, job_id)
    stream = events(response)

    first = next(stream)
    note(job_id, "claimed")
    second = next(stream)
    end_job(job_id, result={})
    third = next(stream)

    assert (response.mimetype, response.headers["X-Accel-Buffering"]) == ("text/event-stream", "no")
    assert (first["status"], [event["what"] for event in first["timeline"]]) == ("queued", ["accepted"])
    assert (second["status"], [event["what"] for event in second["timeline"]]) == ("queued", ["claimed"])
    assert (third["status"], third["timeline"], third["id"]) == ("succeeded", [], second["id"])
    assert next(stream, None) is None
    assert waiting.streams.taken == 0, "a server that does not close what it has read to the end must cost no place"
    response.close()


def test_a_stream_goes_on_after_the_last_event_seen(shop: Shop) -> None:
    job_id = start_job(shop)
    seen = next(events(response := follow(shop, job_id)))["id"]
    response.close()
    note(job_id, "claimed")

    again = next(events(response := follow(shop, job_id, **{"Last-Event-ID": str(seen)})))

    assert [event["what"] for event in again["timeline"]] == ["claimed"]
    response.close()


def test_a_client_that_has_seen_all_of_an_ended_job_is_told_to_stop(shop: Shop) -> None:
    job_id = start_job(shop)
    end_job(job_id, result={})
    last = list(events(follow(shop, job_id)))[-1]["id"]

    assert follow(shop, job_id, **{"Last-Event-ID": str(last)}).status_code == 204


@pytest.mark.parametrize("seen", ["soon", "-1", "9" * 40, "\u0664"])
def test_a_last_event_id_of_somebody_else_starts_from_the_beginning(shop: Shop, seen: str) -> None:
    job_id = start_job(shop)
    end_job(job_id, result={})

    assert next(iter(events(follow(shop, job_id, **{"Last-Event-ID": seen}))))["timeline"]


def test_a_quiet_stream_shows_that_it_lives(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT", 0.0)
    monkeypatch.setattr(streams, "LOOK_EVERY", 0.01)
    response = follow(shop, start_job(shop))
    stream = events(response)

    assert next(stream)["status"] == "queued"
    assert next(stream) == {"comment": ": still here"}
    response.close()


def test_a_stream_does_not_live_for_ever(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LIFE", 0.2)
    monkeypatch.setattr(streams, "LOOK_EVERY", 0.01)

    assert len(list(events(follow(shop, start_job(shop))))) == 1


def test_past_the_cap_a_stream_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "streams", waiting.Places(0))

    response = follow(shop, start_job(shop))

    assert (response.status_code, response.get_json()["type"]) == (503, "/problems/busy")
    assert response.headers["Retry-After"]


def test_a_stream_notices_the_end_without_being_due_for_a_look(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_EVERY", 3600.0)
    job_id = start_job(shop)
    stream = events(follow(shop, job_id))
    next(stream)
    ending = Thread(target=end_job, args=(job_id,), kwargs={"result": {}})

    ending.start()

    assert next(stream)["status"] == "succeeded"
    ending.join()
