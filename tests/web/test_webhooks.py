from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from core.database import reading
from core.domain import jobs, webhooks
from tests.web.shop import Recorder, counts, deliver, end_job, event, sign
from web import hints
from web.views.webhooks import MAX_BODY


def stored() -> list[Any]:
    table = webhooks.webhook_events.c
    with reading() as conn:
        return list(conn.execute(select(table.id, table.status, table.payload, table.job_id)))


def test_a_signed_event_is_stored_with_its_job_and_hinted(client: FlaskClient, hinted: Recorder) -> None:
    payload = json.dumps(event(), indent=2).encode()

    response = deliver(client, payload)

    [row] = stored()
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
    assert (row.id, row.status, row.payload) == ("evt_1", "received", payload.decode())
    assert hints.publisher().flush()
    assert hinted.messages == [(jobs.WEBHOOK_PROCESS, [row.job_id])]


def test_a_duplicate_is_stored_once_and_hinted_until_it_is_processed(client: FlaskClient, hinted: Recorder) -> None:
    deliver(client, event())
    assert hints.publisher().flush()
    assert deliver(client, event()).status_code == 200
    assert hints.publisher().flush()
    assert len(hinted.ids) == 2

    end_job(stored()[0].job_id)
    assert deliver(client, event()).status_code == 200

    assert hints.publisher().flush()
    assert len(hinted.ids) == 2
    assert (counts()["webhook_events"], counts()["jobs"]) == (1, 1)


def test_an_event_of_the_other_mode_is_kept_but_rejected(client: FlaskClient, hinted: Recorder) -> None:
    response = deliver(client, event(livemode=True))

    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
    assert [row.status for row in stored()] == ["rejected"]
    assert counts()["jobs"] == 0


@pytest.mark.parametrize(
    "signature",
    [None, "", "t=1", "garbage", "t=abc,v1=00", "v1=" + "0" * 64, "caf\u00e9", f"t={int(time.time())},v1={'0' * 64}"],
    ids=["absent", "empty", "only a time", "garbage", "no time", "only a hash", "not ascii", "a wrong hash"],
)
def test_a_bad_signature_is_refused_and_nothing_is_stored(client: FlaskClient, signature: str | None) -> None:
    headers = {} if signature is None else {"Stripe-Signature": signature}

    response = client.post("/webhooks/stripe", json=event(), headers=headers)

    assert (response.status_code, response.get_json()["type"]) == (400, "/problems/invalid-signature")
    assert not any(counts().values())


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_signature_of_another_time_is_refused(client: FlaskClient, seconds: int) -> None:
    raw = json.dumps(event()).encode()
    signature = sign(raw, at=int(time.time()) + seconds)

    response = client.post("/webhooks/stripe", data=raw, headers={"Stripe-Signature": signature})

    assert response.status_code == 400
    assert not any(counts().values())


def test_a_body_changed_after_signing_is_refused(client: FlaskClient) -> None:
    raw = json.dumps(event()).encode()

    response = client.post("/webhooks/stripe", data=raw + b" ", headers={"Stripe-Signature": sign(raw)})

    assert response.status_code == 400
    assert not any(counts().values())


GARBAGE: dict[str, Any] = {
    "not UTF-8": b"\xff\xfe",
    "not JSON": b"{",
    "empty": b"",
    "a list": [],
    "null": None,
    "a string": "evt_1",
    "an object without anything": {},
    "no id": {name: value for name, value in event().items() if name != "id"},
    "no type": {name: value for name, value in event().items() if name != "type"},
    "no object": {name: value for name, value in event().items() if name != "object"},
    "no data": {name: value for name, value in event().items() if name != "data"},
    "a thin event": event(object="v2.core.event"),
    "an id of the wrong type": event(id=1),
    "an id with a NUL": event(id="evt_\0"),
    "an API version with a NUL": event(api_version="2026-10-28\0"),
    "livemode as a word": event(livemode="true"),
    "the same key twice": b'{"id": "evt_1", "id": "evt_2"}',
    "NaN": json.dumps(event(created=float("nan"))).encode(),
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
def test_signed_garbage_is_refused_and_nothing_is_stored(client: FlaskClient, payload: Any) -> None:
    response = deliver(client, payload)

    assert response.status_code == 400
    assert response.get_json()["type"] in ("/problems/malformed-json", "/problems/not-an-event")
    assert not any(counts().values())


def test_a_large_body_is_refused_before_anything_is_computed_over_it(client: FlaskClient) -> None:
    response = deliver(client, b" " * (MAX_BODY + 1))

    assert (response.status_code, response.get_json()["type"]) == (413, "/problems/body-too-large")
    assert not any(counts().values())


def test_the_largest_body_is_taken(client: FlaskClient) -> None:
    raw = json.dumps(event()).encode()

    assert deliver(client, raw + b" " * (MAX_BODY - len(raw))).status_code == 200


def test_a_webhook_that_cannot_be_stored_is_answered_503(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")

    response = deliver(client, event())

    assert (response.status_code, response.get_json()["type"]) == (503, "/problems/unavailable")
    assert int(response.headers["Retry-After"]) >= 1
