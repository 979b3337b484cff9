"""The worker: `celery -A worker worker`, `celery -A worker beat`, `celery -A worker flower`."""

import gc

gc.set_threshold(50_000)  # the usual 700 make a sixth of the start looking for garbage among what was just imported

from worker.app import app  # noqa: E402

__all__ = ["app"]
