"""The settings: what is accepted, what each wrong value is told, and the secrets that dev makes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dotenv import dotenv_values

from core import devsecrets, settings
from core.settings import ROOT, SettingsError

KEY = "k" * 32
LIVE = {"APP_ENV": "prod", "SECRET_KEY": KEY, "STRIPE_ENABLED": "true", "STRIPE_WEBHOOK_SECRET": "whsec_x"}

WRONG = {
    "APP_ENV": ("production", "APP_ENV is 'production'; it should be dev, staging or prod"),
    "DATABASE_URL": (
        "mysql://root:hunter2@db/x",
        "DATABASE_URL is not valid; it should be sqlite:///path or postgresql://user:password@host/name",
    ),
    "BROKER_URL": (
        "sqs://:hunter2@",
        "BROKER_URL is not valid; it should be filesystem://, redis://, rediss://, amqp:// or amqps://",
    ),
    "REDIS_ENABLED": ("maybe", "REDIS_ENABLED is 'maybe'; it should be true or false"),
    "REDIS_URL": (
        "http://:hunter2@redis",
        "REDIS_URL is not valid; it should be redis://host:6379 or rediss://host:6379",
    ),
    "SENTRY_ENABLED": ("ja", "SENTRY_ENABLED is 'ja'; it should be true or false"),
    "SENTRY_DSN": ("https://hunter2@sentry.io/name", "SENTRY_DSN is not valid; it should be https://key@host/number"),
    "SENTRY_TRACES_SAMPLE_RATE": ("1.5", "SENTRY_TRACES_SAMPLE_RATE is '1.5'; it should be a number from 0 to 1"),
    "STRIPE_ENABLED": ("2", "STRIPE_ENABLED is '2'; it should be true or false"),
    "STRIPE_SECRET_KEY": (
        "pk_test_hunter2",
        "STRIPE_SECRET_KEY is not a secret key; it should start with sk_ or rk_, then test_ or live_",
    ),
    "STRIPE_PUBLISHABLE_KEY": (
        "sk_test_hunter2",
        "STRIPE_PUBLISHABLE_KEY is not valid; it should be a key that starts with pk_test_ or pk_live_",
    ),
    "STRIPE_API_BASE": (
        "http://me:hunter2@stripe.example",
        "STRIPE_API_BASE is not valid; it should be http(s)://host:port without a path",
    ),
    "LOG_LEVEL": ("LOUD", "LOG_LEVEL is 'LOUD'; it should be DEBUG, INFO, WARN, WARNING, ERROR or CRITICAL"),
    "LOG_FORMAT": ("xml", "LOG_FORMAT is 'xml'; it should be json or text"),
    "HOST": ("http://here", "HOST is 'http://here'; it should be an address to listen on, for example 127.0.0.1"),
    "LEASE_SECONDS": (
        "0",
        "LEASE_SECONDS is '0'; it should be seconds from 1 to 3600 after which a silent worker's job is another's",
    ),
    "PORT": ("0", "PORT is '0'; it should be a port from 1 to 65535"),
    "SIMULATOR_PORT": ("65536", "SIMULATOR_PORT is '65536'; it should be a port from 1 to 65535"),
    "FLOWER_PORT": ("http", "FLOWER_PORT is 'http'; it should be a port from 1 to 65535"),
}

UNFIT = {
    "redis without an address": (
        {"REDIS_ENABLED": "true"},
        "REDIS_URL is not set; it should be redis://host:6379 when REDIS_ENABLED=true",
    ),
    "sentry without a project": (
        {"SENTRY_ENABLED": "true"},
        "SENTRY_DSN is not set; it should be the project's DSN when SENTRY_ENABLED=true",
    ),
    "stripe without a key": (
        {"STRIPE_ENABLED": "true"},
        "STRIPE_SECRET_KEY is not set; it should be the API key when STRIPE_ENABLED=true",
    ),
    "stripe outside dev without a webhook secret": (
        {"APP_ENV": "staging", "SECRET_KEY": KEY, "STRIPE_ENABLED": "true", "STRIPE_SECRET_KEY": "sk_test_x"},
        "STRIPE_WEBHOOK_SECRET is not set; it should be the signing secret when STRIPE_ENABLED=true",
    ),
    "staging without a key for tokens": (
        {"APP_ENV": "staging"},
        "SECRET_KEY is not set; it should be 32 or more random characters",
    ),
    "prod with a short key for tokens": (
        {"APP_ENV": "prod", "SECRET_KEY": "k" * 31},
        "SECRET_KEY is too short for prod; it should be 32 or more random characters",
    ),
    "prod with a short bootstrap key": (
        {"APP_ENV": "prod", "SECRET_KEY": KEY, "BOOTSTRAP_API_KEY": "hunter2"},
        "BOOTSTRAP_API_KEY is too short for prod; it should be 32 or more random characters",
    ),
    "prod with a crash point": (
        {"APP_ENV": "prod", "SECRET_KEY": KEY, "CRASH_POINT": "charge.posted"},
        "CRASH_POINT is set; it should be unset in prod: it kills processes to test their recovery",
    ),
    "prod with a short lease": (
        {"APP_ENV": "prod", "SECRET_KEY": KEY, "LEASE_SECONDS": "59"},
        "LEASE_SECONDS is too short for prod; it should be 60 or more, for Stripe to answer in",
    ),
    "prod with a test key": (
        LIVE | {"STRIPE_SECRET_KEY": "sk_test_hunter2"},
        "STRIPE_SECRET_KEY is a test key; it should be a live key when APP_ENV=prod",
    ),
    "dev with real money": (
        {"STRIPE_ENABLED": "true", "STRIPE_SECRET_KEY": "rk_live_hunter2"},
        "STRIPE_SECRET_KEY is a live key; it should be a test key when APP_ENV=dev",
    ),
}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_told_in_one_line_without_secrets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, line = WRONG[name]
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value) == line
    assert "hunter2" not in line


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_together_is_told_in_one_line(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, line = UNFIT[case]
    set_all(monkeypatch, variables)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value) == line
    assert "hunter2" not in line


def test_an_empty_environment_is_a_complete_dev_setting(tmp_path: Path) -> None:
    found = settings.load()
    assert (found.app_env, found.host, found.port, found.simulator_port, found.flower_port) == (
        "dev", "127.0.0.1", 8000, 12111, 5555,
    )  # fmt: skip
    assert (found.redis_enabled, found.sentry_enabled, found.stripe_enabled) == (False, False, False)
    assert (found.log_level, found.log_format, found.sentry_environment) == ("INFO", "json", "dev")
    assert found.database_url == f"sqlite:///{tmp_path}/counterfoil.db"
    assert found.broker_url == "filesystem://"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"PORT": "", "REDIS_URL": " ", "LOG_LEVEL": ""})
    assert (settings.load().port, settings.load().redis_url, settings.load().log_level) == (8000, None, "INFO")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql+psycopg://u:p@h/d?sslmode=require"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("sqlite:////srv/c.db", "sqlite:////srv/c.db"),
    ],
)
def test_the_database_is_reached_through_psycopg_3_or_sqlite(
    given: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", given)
    assert settings.load().database_url == used


@pytest.mark.parametrize("url", ["redis://h", "rediss://:p@h/1", "amqp://u:p@h//", "amqps://h", "filesystem://"])
def test_each_kind_of_broker_is_accepted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", url)
    assert settings.load().broker_url == url


@pytest.mark.parametrize(("given", "used"), [("warn", "WARNING"), ("WARN", "WARNING"), ("debug", "DEBUG")])
def test_a_log_level_is_accepted_as_people_write_it(given: str, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", given)
    assert settings.load().log_level == used


def test_several_webhook_secrets_are_kept_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_new, whsec_old,")
    assert [secret.get_secret_value() for secret in settings.load().stripe_webhook_secrets] == [
        "whsec_new",
        "whsec_old",
    ]


def test_a_live_key_in_prod_and_a_stand_in_anywhere_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LIVE | {"STRIPE_SECRET_KEY": "sk_live_x"})
    assert settings.load().stripe_enabled
    set_all(monkeypatch, {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_API_BASE": "http://127.0.0.1:12111"})
    assert settings.load().stripe_enabled


def test_a_single_machine_in_prod_may_use_sqlite_and_the_filesystem(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"APP_ENV": "prod", "SECRET_KEY": KEY})
    found = settings.load()
    assert (found.database_url[:7], found.broker_url) == ("sqlite:", "filesystem://")


def test_prod_needs_no_bootstrap_key_and_makes_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"APP_ENV": "prod", "SECRET_KEY": KEY})
    found = settings.load()
    assert (found.bootstrap_api_key, found.stripe_webhook_secrets) == (None, ())
    assert not (found.state_dir / "secrets").exists()
    with pytest.raises(SettingsError, match=r"^BOOTSTRAP_API_KEY is not set; it should be set when APP_ENV=prod$"):
        settings.dev_secret("BOOTSTRAP_API_KEY")


def test_a_relative_state_dir_is_the_same_folder_wherever_a_program_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", "var/other")
    assert settings.load().state_dir == ROOT / "var" / "other"


def test_neither_repr_nor_str_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(
        monkeypatch,
        {
            "DATABASE_URL": "postgresql://u:hunter2@h/d", "BROKER_URL": "redis://:hunter2@h", "REDIS_URL": "redis://:hunter2@h",
            "SENTRY_DSN": "https://hunter2@h/1", "STRIPE_SECRET_KEY": "sk_test_hunter2",
            "STRIPE_WEBHOOK_SECRET": "whsec_hunter2", "BOOTSTRAP_API_KEY": "hunter2", "SECRET_KEY": "hunter2",
        },
    )  # fmt: skip
    found = settings.load()
    assert "hunter2" not in f"{found!r} {found}"


def test_a_change_of_the_environment_is_seen_and_an_unchanged_one_is_not_checked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = settings.load()
    assert settings.load() is first
    monkeypatch.setenv("PORT", "8123")
    assert (settings.load().port, first.port) == (8123, 8000)


@pytest.mark.parametrize("word", ["1", "true", "TRUE", " yes ", "on", "t", "y", "0", "false", "No", "off", "f", "n"])
def test_the_cheap_switch_and_the_settings_agree_on_every_word(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"REDIS_ENABLED": word, "REDIS_URL": "redis://h"})
    assert settings.enabled("REDIS_ENABLED") is settings.load().redis_enabled


def test_a_program_starts_from_its_file_beneath_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env.staging").write_text(f"PORT=8001\nHOST=0.0.0.0\nSECRET_KEY={KEY}\nLOG_FORMAT=text  # why\n")
    with monkeypatch.context() as inner:
        for name in ("HOST", "SECRET_KEY", "LOG_FORMAT"):
            inner.setenv(name, "x")  # so that the context puts back what start() sets
            inner.delenv(name)
        set_all(inner, {"APP_ENV": "staging", "PORT": "8002"})
        found = settings.start(tmp_path)
    assert (found.port, found.host, found.log_format) == (8002, "0.0.0.0", "text")


def test_a_program_stops_with_the_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from core import settings; settings.start()"],
        env={**os.environ, "PORT": "eighty"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "PORT is 'eighty'; it should be a port from 1 to 65535\n")


@pytest.mark.parametrize("app_env", ["dev", "staging", "prod"])
def test_the_files_of_the_repository_are_complete_but_for_the_secrets(
    app_env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: value or "" for name, value in dotenv_values(ROOT / f".env.{app_env}").items()}
    assert not {name for name in given if name.endswith(("_KEY", "_SECRET", "_DSN"))}
    mode = "live" if app_env == "prod" else "test"
    secrets = {"SECRET_KEY": KEY, "SENTRY_DSN": "https://k@sentry.example/1", "STRIPE_WEBHOOK_SECRET": "whsec_x"}
    set_all(monkeypatch, {**given, **secrets, "APP_ENV": app_env, "STRIPE_SECRET_KEY": f"sk_{mode}_x"})
    found = settings.load()
    assert {found.redis_enabled, found.sentry_enabled, found.stripe_enabled} == {app_env != "dev"}


def test_dev_makes_each_missing_secret_once_and_only_for_its_owner(tmp_path: Path) -> None:
    found = settings.load()
    made = {
        "SECRET_KEY": found.secret_key.get_secret_value(),
        "STRIPE_WEBHOOK_SECRET": found.stripe_webhook_secrets[0].get_secret_value(),
        "BOOTSTRAP_API_KEY": found.bootstrap_api_key.get_secret_value() if found.bootstrap_api_key else "",
    }
    assert len(set(made.values())) == 3
    assert made["STRIPE_WEBHOOK_SECRET"].startswith("whsec_")
    for name, value in made.items():
        assert settings.dev_secret(name) == value
        assert len(value) >= 32
        kept = tmp_path / "secrets" / name.lower()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_secret_that_was_set_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_all(monkeypatch, {"SECRET_KEY": "a", "STRIPE_WEBHOOK_SECRET": "b", "BOOTSTRAP_API_KEY": "c"})
    found = settings.load()
    assert found.secret_key.get_secret_value() == "a"
    assert found.stripe_webhook_secrets[0].get_secret_value() == "b"
    assert found.bootstrap_api_key
    assert found.bootstrap_api_key.get_secret_value() == "c"
    assert not (tmp_path / "secrets").exists()


def test_processes_that_race_for_a_secret_all_get_the_same_one(tmp_path: Path) -> None:
    program = "import sys; from core.settings import dev_secret; sys.stdin.read(); print(dev_secret('SECRET_KEY'))"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.close()  # all were started: now go
        racer.stdin = None
    told = {racer.communicate(timeout=60)[0] for racer in racers}
    assert len(told) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["secret_key"]


def test_threads_that_race_for_a_secret_all_get_the_same_one(tmp_path: Path) -> None:
    for round_ in range(20):
        gate, told = threading.Barrier(8), set[str]()

        def race(folder: Path, gate: threading.Barrier, told: set[str]) -> None:
            gate.wait()
            told.add(devsecrets.kept_secret(folder, "SECRET_KEY"))

        threads = [threading.Thread(target=race, args=(tmp_path / str(round_), gate, told)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 1
