"""Flask in front of plain Celery: verify, insert, apply_async in the request."""

from __future__ import annotations

import json

from flask import Flask, Response, jsonify, request

from benchmarks.peers import celery_app, signatures, sync_jobs

app = Flask("peer")


@app.post("/webhooks/stripe")
def webhook() -> tuple[Response, int]:
    """Store a signed event and enqueue its processing."""
    body = request.get_data()
    if not signatures.genuine(body, request.headers.get("Stripe-Signature", "")):
        return jsonify(status="bad signature"), 400
    event = json.loads(body)
    sync_jobs.keep_event(event, body.decode())
    celery_app.send("hear", event["id"])
    return jsonify(status="ok"), 200


@app.post("/orders/<order_id>/checkout")
def checkout(order_id: str) -> tuple[Response, int]:
    """Enqueue a checkout; the order is there already."""
    celery_app.send("charge", order_id)
    return jsonify(order_id=order_id), 202
