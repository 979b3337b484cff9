"""Prometheus metrics of this process; with PROMETHEUS_MULTIPROC_DIR set, of all web processes together."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from core import get_logger
from core.database import DatabaseUnavailable, reading
from core.domain import jobs, pauses

logger = get_logger(__name__)

registry = CollectorRegistry()
REQUESTS = Counter(
    "counterfoil_http_requests_total", "Answered requests", ["method", "route", "status"], registry=registry
)
SECONDS = Histogram(
    "counterfoil_http_request_seconds",
    "Time to answer; a stream counts until it starts",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
ACCEPTED = Counter("counterfoil_jobs_accepted_total", "Jobs accepted over HTTP", ["kind"], registry=registry)
HINTS_SENT = Counter("counterfoil_hints_sent_total", "Job ids sent to the broker", ["kind"], registry=registry)
MESSAGES_SENT = Counter("counterfoil_hint_messages_total", "Messages that carried them", ["kind"], registry=registry)
HINTS_DROPPED = Counter(
    "counterfoil_hints_dropped_total", "Job ids left to the sweep: the broker was slow or away", registry=registry
)


class _Backlog(Collector):
    """Gauges that the database knows, asked at each scrape."""

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: asking the database at registration would need one."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the job gauges, or only that the database is away."""
        up = GaugeMetricFamily("counterfoil_database_up", "Whether the database answered this scrape")
        try:
            with reading() as conn:
                backlog, paused = jobs.backlog(conn), pauses.in_force(conn)
        except DatabaseUnavailable as error:
            logger.warning("Job gauges left out of a scrape", extra={"error": str(error)})
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        counts = GaugeMetricFamily("counterfoil_jobs", "Jobs that have not ended by themselves", labels=["status"])
        for status in (jobs.QUEUED, jobs.RUNNING, jobs.QUARANTINED, jobs.NEEDS_REVIEW):
            counts.add_metric([status], getattr(backlog, status))
        yield counts
        yield GaugeMetricFamily(
            "counterfoil_oldest_due_job_seconds",
            "How long the longest-due queued job has been due",
            value=backlog.oldest_due_seconds,
        )
        waits = GaugeMetricFamily(
            "counterfoil_paused_seconds", "How long work has been waiting for Stripe to take it", labels=["name"]
        )
        for name, seconds in ({pauses.STRIPE: 0.0} | {one.name: one.seconds for one in paused}).items():
            waits.add_metric([name], seconds)
        yield waits
        ages = GaugeMetricFamily(
            "counterfoil_oldest_open_job_seconds", "How long ago the oldest open job was accepted", labels=["kind"]
        )
        for kind, seconds in backlog.oldest_open_seconds.items():
            ages.add_metric([kind], seconds)
        yield ages


def exposition() -> bytes:
    """All metrics in Prometheus's text format."""
    shown = registry
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # prometheus_client's own switch: its values live in files there
        shown = CollectorRegistry()
        multiprocess.MultiProcessCollector(shown)  # type: ignore[no-untyped-call]  # theirs
    backlog = CollectorRegistry()
    backlog.register(_Backlog())
    return generate_latest(shown) + generate_latest(backlog)
