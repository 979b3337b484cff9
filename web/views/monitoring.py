"""What operators' tools ask: is it alive, is it ready, how much of what. No key: it shows numbers, not people.

The server listens on loopback unless HOST says otherwise; whoever opens it keeps /metrics from strangers.
"""

from __future__ import annotations

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from web import health, metrics
from web.answers import Alive, Health
from web.routing import Routes, Text, reply

routes = Routes("Monitoring")


@routes.get("/health/live", "Is the process alive?", answers={200: (Alive,)})
def live() -> Response:
    """Answer; nothing else is looked at, since restarting this process mends nothing else."""
    return reply(Alive())


@routes.get("/health/ready", "Does everything work together?", answers={200: (Health,), 503: (Health,)})
def ready() -> Response:
    """Look at the database, the broker, the worker and what is overdue; 503 when one of them is red."""
    found = health.look()
    return reply(found, 200 if found.status == "ok" else 503)


@routes.get("/metrics", "Prometheus metrics", answers={200: (Text("text/plain", "Prometheus's text format"),)})
def show_metrics() -> Response:
    """Show the metrics of the web and the job gauges."""
    return Response(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})
