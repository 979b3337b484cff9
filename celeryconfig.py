"""Celery's settings, shared by the worker and by whoever publishes, and why each is so.

The database is the queue's truth and a message is a hint that may be lost, late or doubled; every choice
below prefers a fast, bounded answer over a delivery promise that no broker keeps.
"""

from typing import Any

from kombu import Queue

from core import settings
from stack import spool

_settings = settings.load()
_scheme = _settings.broker_url.partition("://")[0]
_rabbitmq = _scheme in ("amqp", "amqps")

# --- The broker ---------------------------------------------------------------------------------------------

broker_url = _settings.broker_url

broker_connection_timeout = 2  # seconds; a dead broker is found out soon, and the sweep hints again
broker_connection_retry_on_startup = True  # a worker that starts before its broker waits for it
broker_connection_max_retries = None  # for ever: an outage of any length ends without anybody's help
broker_heartbeat = 20  # seconds; a RabbitMQ connection that a firewall dropped is noticed
# Opened as they are needed. Each question to the workers holds one while it waits for another, and Flower asks as many
# at once as it has threads, up to 32: with no more connections than that it waits for itself for ever.
broker_pool_limit = 50

_publish_once = {  # connecting, too, is tried twice and no longer: the default blocks a publish for seconds
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
if _scheme == "filesystem":
    broker_transport = "stack.spool:Transport"  # whole messages, and none that stay for ever
    broker_transport_options: dict[str, Any] = {
        **spool.prepare(_settings.state_dir / "broker"),
        "polling_interval": 0.05,  # seconds; a hint waits 25 ms on average
    }
elif _rabbitmq:
    broker_transport_options = {
        **_publish_once,
        "confirm_publish": True,  # without confirms RabbitMQ drops silently
        "read_timeout": 10,  # seconds for the confirm; a publisher never hangs on a broker that went silent
        "write_timeout": 5,
    }
else:
    broker_transport_options = {
        **_publish_once,
        "socket_connect_timeout": 2,
        "socket_timeout": 5,  # seconds; longer than the 1 s that a consumer's BRPOP blocks
        "socket_keepalive": True,
    }

# --- Queues -------------------------------------------------------------------------------------------------

_arguments = {"x-queue-type": "quorum"} if _rabbitmq else None  # survives the loss of a RabbitMQ node
task_queues = [
    Queue(name, routing_key=name, queue_arguments=_arguments)
    for name in ("payments", "webhooks", "statistics", "reconcile", "maintenance")
]
# `maintenance` has a worker of its own: the sweep brings back what was lost, and waits for nobody's free slot.
# `reconcile` has one, too: a job that must run alone waits for all of its process, and these take long.
# There are no routes: every sender names its queue. Sent through an exchange, a message vanishes without an
# error once Redis has lost the binding.
task_default_queue = "maintenance"  # what somebody sends by hand without a queue still reaches a worker
task_create_missing_queues = False  # a misspelt queue is an error at the sender, not a queue without readers
# RabbitMQ refuses a global prefetch on quorum queues: without this nothing runs.
worker_detect_quorum_queues = True

# --- Publishing ---------------------------------------------------------------------------------------------

task_publish_retry = False  # an unknown outcome is repeated by the sweep, not by a blocked publisher
task_serializer = "json"
accept_content = ["json"]  # a message from a stranger must not be able to run code (pickle)

# --- Working ------------------------------------------------------------------------------------------------

task_ignore_result = True  # the result lives in the job's row; storing it twice costs 1.4 times the CPU
# The lease in the row recovers a killed worker; a late ack would only add a second way.
task_acks_late = False
# A killed worker's message stays lost: given back, a deadly task ran 106 times in 20 s. The row counts.
task_reject_on_worker_lost = False
# Messages read ahead per slot. Early acks make a hoarded hint cheap to lose, and gevent on Redis stalls at 1.
# Start a prefork worker with --prefetch-multiplier 1: its tasks are long.
worker_prefetch_multiplier = 4
# A payment under way has nothing to do with the broker.
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = False  # core.logs owns the handlers: structured, bound and redacted
worker_redirect_stdouts = False  # for the same reason
# Workers start with --without-gossip --without-mingle: nobody here reads what they exchange, and it costs CPU
# and, on the embedded broker, files. The heartbeat stays: Flower shows a worker without it as offline.

# --- Watching -----------------------------------------------------------------------------------------------

worker_send_task_events = True  # Flower's task list
# What nobody took yet shows as the queue's length, in Flower, too: an event for each hint costs as much as the hint.
task_send_sent_event = False
worker_enable_remote_control = True  # `celery inspect`, and Flower's worker pages

# --- The schedule -------------------------------------------------------------------------------------------

timezone = "UTC"
enable_utc = True
beat_scheduler = "stack.beat:Scheduler"  # skips a tick while a few wait: none pile up without a worker
beat_max_loop_interval = 1  # seconds; the shortest schedule below


def _tick(task: str, seconds: float) -> dict[str, Any]:
    return _every(seconds, "maintenance.tick", task)


def _every(seconds: float, task: str, *args: str) -> dict[str, Any]:
    # no `expires`: it compares two machines' clocks, and a skewed one would discard every tick
    return {"task": task, "schedule": seconds, "args": args, "options": {"queue": "maintenance"}}


beat_schedule = {
    "sweep": _every(1.0, "maintenance.sweep"),
    # Twice or more per period of `worker.schedule`, which makes one job of them: a lost or late tick costs nothing.
    "canary": _tick("maintenance.canary", 15.0),  # proves that a tick becomes a job and a job gets done
    "statistics": _tick("statistics.recompute", 30.0),
    "reconcile-events": _tick("reconcile.events", 30.0),  # what no webhook told
    "reconcile-objects": _tick("reconcile.objects", 60.0),  # what Stripe shows against what we hold
}
