"""Nothing but the standard library's neighbours: with the vendors' packages gone, everything works switched off."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from core.settings import ROOT

VENDORS = ("redis", "stripe", "sentry_sdk")
WITHOUT = f"""
import importlib.abc, sys

class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {VENDORS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Gone())
"""


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT + textwrap.dedent(program)],
        cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_packages_are_really_gone(vendor: str) -> None:
    assert f"No module named '{vendor}'" in run(f"import {vendor}").stderr


def test_everything_works_switched_off() -> None:
    done = run("""
        import time, hashlib, hmac
        from core import (
            PaymentError, PaymentStatus, cache, get_logger, log_db_query, log_error, log_request, logs, monitor,
            payment, settings,
        )

        settings.start()
        logs.configure()
        logger = get_logger("shop")

        assert cache.get("k") is None and cache.set("k", 1, ttl=60) is False and cache.delete("k") is False
        assert cache.get_or_compute("k", lambda: 7, ttl=60) == 7

        monitor.start()
        monitor.set_user(user_id="7")
        monitor.add_breadcrumb("Checkout started", category="commerce", data={"cart_id": 1})
        with monitor.trace("outer"), monitor.continue_trace(monitor.traceparent(), "job"):
            assert monitor.capture_exception(ValueError("x"), context={"user_id": 7}) is None
        monitor.flush()

        customer = payment.create_customer("jo@example.com", name="Jo")
        intent = payment.create_payment_intent(1000, customer_id=customer["id"])
        refund = payment.create_refund(intent["id"], amount=400)
        assert (intent["test_mode"], intent["amount"], refund["amount"]) == (True, 1000, 400)
        assert payment.retrieve_payment_intent(intent["id"])["client_secret"] == intent["client_secret"]
        assert payment.list_refunds(intent["id"]) == []
        try:
            payment.create_payment_intent(9.5)
        except PaymentError as error:
            log_error(logger, error, context={"user_id": 7})
        assert PaymentStatus("unknown") is PaymentStatus.UNKNOWN

        stamp = str(int(time.time()))
        secret = settings.dev_secret("STRIPE_WEBHOOK_SECRET").encode()
        digest = hmac.new(secret, stamp.encode() + b".{}", hashlib.sha256).hexdigest()
        assert payment.verify_webhook_signature(b"{}", f"t={stamp},v1={digest}") is True
        assert payment.verify_webhook_signature(b"{} ", f"t={stamp},v1={digest}") is False

        log_request(logger, "GET", "/", 200, duration_ms=1.5)
        log_db_query(logger, "SELECT 1", duration_ms=1.5, rows=1)
        print("done")
    """)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "PaymentInvalid" in done.stderr


def test_switched_on_without_its_package_each_service_says_what_is_missing() -> None:
    done = run(
        """
        from core import cache, monitor, payment
        from core.payments import PaymentMisconfigured
        assert cache.get("k") is None
        assert cache.get_or_compute("k", lambda: 7, ttl=60) == 7
        assert monitor.capture_exception(ValueError("x")) is None
        try:
            payment.create_payment_intent(1000)
        except PaymentMisconfigured as error:
            print(error.detail)
            assert error.fingerprint == payment.fingerprint() == "none"
        """,
        REDIS_ENABLED="true", REDIS_URL="redis://127.0.0.1:1", STRIPE_ENABLED="true", STRIPE_SECRET_KEY="sk_test_x",
        SENTRY_ENABLED="true", SENTRY_DSN="http://key@127.0.0.1:1/1",
    )  # fmt: skip
    assert done.stdout == "STRIPE_ENABLED=true needs the package stripe: No module named 'stripe'\n"
    for vendor in ("redis", "sentry_sdk"):
        assert f"No module named '{vendor}'" in done.stderr


def test_importing_core_opens_writes_and_imports_next_to_nothing() -> None:
    program = """
        import builtins, os, socket, sys
        opened = []
        sys.addaudithook(lambda event, args: opened.append((event, args)) if (
            event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        ) or event in ("socket.__new__", "socket.connect", "os.mkdir", "subprocess.Popen") else None)
        import core
        heavy = {"redis", "stripe", "sentry_sdk", "sqlalchemy", "flask", "celery", "pydantic", "urllib3"}
        print(opened, heavy & set(sys.modules))
    """
    done = run(program, PORT="nonsense", STATE_DIR="/nowhere")
    assert (done.stdout, done.stderr) == ("[] set()\n", "")
