"""What the benchmark tells a peer's processes."""

from __future__ import annotations

import os

DATABASE = os.environ.get("BENCH_DATABASE", "")
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:1/0")
GATEWAY = os.environ.get("BENCH_GATEWAY", "")
BODY = os.environ.get("BENCH_BODY", "bare")
"""`bare`: raw HTTP client; `sdk`: Stripe's own client as its documentation shows it."""
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "20"))
"""Database connections of a process at most."""
SECRET = os.environ.get("BENCH_WEBHOOK_SECRET", "")
KEY = "sk_test_benchmark"
AMOUNT = 1050
