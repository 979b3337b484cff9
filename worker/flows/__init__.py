"""What the worker does for each kind of job: plain functions that know no Celery."""

from __future__ import annotations

from core.domain import checkouts, jobs, news
from worker.flows.backfill import backfill_events
from worker.flows.canary import sing
from worker.flows.charge import create_payment
from worker.flows.reconcile import compare_objects
from worker.flows.refund import create_refund
from worker.flows.statistics import recompute
from worker.flows.webhook import process_webhook
from worker.runner import Flow
from worker.work import Batched

FLOWS: dict[str, Flow] = {
    jobs.PAYMENT_CREATE.name: Batched(create_payment, checkouts.load),
    jobs.REFUND_CREATE.name: create_refund,
    jobs.WEBHOOK_PROCESS.name: Batched(process_webhook, news.load),
    jobs.STATISTICS_RECOMPUTE.name: recompute,
    jobs.CANARY.name: sing,
    jobs.RECONCILE_EVENTS.name: backfill_events,
    jobs.RECONCILE_OBJECTS.name: compare_objects,
}
