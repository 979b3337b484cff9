"""The worker: `celery -A worker worker`, `celery -A worker beat`, `celery -A worker flower`."""

from worker.app import app

__all__ = ["app"]
