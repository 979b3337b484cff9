"""FastAPI's test client."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # Starlette would rather have the successor of httpx; for these few requests either will do.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

__all__ = ["TestClient"]
