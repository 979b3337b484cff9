"""The environment, read in one place: typed, checked, complete or refused.

Nothing is read when this is imported. Programs call `start()`, everybody else `load()`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv import load_dotenv
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from core.devsecrets import kept_secret
from core.settings_checks import problems
from core.switches import enabled

__all__ = ["Settings", "SettingsError", "dev_secret", "enabled", "load", "start"]

ROOT = Path(__file__).resolve().parent.parent


class SettingsError(Exception):
    """One line that names the variable, what is wrong and what it should be; never a secret's value."""


def _database_url(url: str) -> str:
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _words(text: object) -> object:
    return tuple(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def _level(name: object) -> object:
    upper = name.upper() if isinstance(name, str) else name
    return "WARNING" if upper == "WARN" else upper


def _under_root(path: Path) -> Path:
    return ROOT / path  # web and worker share it, wherever each was started


Port = Annotated[int, Field(ge=1, le=65535, description="a port from 1 to 65535")]
Switch = Annotated[bool, Field(description="true or false")]


class Settings(BaseModel):
    """What the environment says; fields are the variables in lower case, and `repr` shows no secret."""

    model_config = ConfigDict(frozen=True, alias_generator=str.upper, hide_input_in_errors=True)

    app_env: Literal["dev", "staging", "prod"] = Field("dev", description="dev, staging or prod")
    state_dir: Annotated[Path, AfterValidator(_under_root)] = Field(
        Path("var"), validate_default=True, description="the folder for everything that a run writes"
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        default_factory=lambda data: f"sqlite:///{data.get('state_dir')}/counterfoil.db",
        pattern=r"^(sqlite:///.*|postgres(ql|ql\+psycopg)?://\S+)$",
        repr=False,
        description="sqlite:///path or postgresql://user:password@host/name",
    )
    broker_url: str = Field(
        "filesystem://",
        pattern=r"^(filesystem://|(redis|rediss|amqp|amqps)://\S+)$",
        repr=False,
        description="filesystem://, redis://, rediss://, amqp:// or amqps://",
    )
    redis_enabled: Switch = False
    redis_url: str | None = Field(
        None,
        pattern=r"^(redis|rediss|unix)://\S+$",
        repr=False,
        description="redis://host:6379 or rediss://host:6379",
    )
    sentry_enabled: Switch = False
    sentry_dsn: str | None = Field(
        None,
        pattern=r"^https?://[^/@\s]+@[^/@\s]+/(\S*/)?\d+$",
        repr=False,
        description="https://key@host/number",
    )
    sentry_environment: str = Field(
        default_factory=lambda data: data.get("app_env", "dev"), description="a name, for example staging"
    )
    sentry_traces_sample_rate: float = Field(0.1, ge=0, le=1, description="a number from 0 to 1")
    stripe_enabled: Switch = False
    stripe_secret_key: Annotated[
        SecretStr | None, Field(description="a key that starts with sk_test_, sk_live_, rk_test_ or rk_live_")
    ] = None
    stripe_publishable_key: str | None = Field(
        None, pattern=r"^pk_(test|live)_\S+$", repr=False, description="a key that starts with pk_test_ or pk_live_"
    )
    own_webhook_secrets: Annotated[tuple[SecretStr, ...], BeforeValidator(_words)] = Field(
        (), alias="STRIPE_WEBHOOK_SECRET", description="one secret, or several separated by commas"
    )
    stripe_api_base: str | None = Field(
        None, pattern=r"^https?://[^/@\s]+$", repr=False, description="http(s)://host:port without a path"
    )
    own_bootstrap_key: SecretStr | None = Field(None, alias="BOOTSTRAP_API_KEY", description="a key")
    own_secret_key: SecretStr | None = Field(None, alias="SECRET_KEY", description="a key")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)] = Field(
        "INFO", description="DEBUG, INFO, WARN, WARNING, ERROR or CRITICAL"
    )
    log_format: Literal["json", "text"] = Field("json", description="json or text")
    lease_seconds: float = Field(
        60.0, ge=1, le=3600, description="seconds from 1 to 3600 after which a silent worker's job is another's"
    )
    crash_point: str | None = Field(None, description="unset, or a name in the code (core.crashpoints)")
    host: str = Field("127.0.0.1", pattern=r"^[^\s/]+$", description="an address to listen on, for example 127.0.0.1")
    port: Port = 8000
    simulator_port: Port = 12111
    flower_port: Port = 5555

    @property
    def stripe_webhook_secrets(self) -> tuple[SecretStr, ...]:
        """Secrets that may have signed a webhook, the first signs ours; empty means that none is accepted."""
        return self.own_webhook_secrets or self._made("STRIPE_WEBHOOK_SECRET")

    @property
    def secret_key(self) -> SecretStr:
        """Signs browser tokens; always there, since a start without it is refused outside dev."""
        return self.own_secret_key or self._made("SECRET_KEY")[0]

    @property
    def bootstrap_api_key(self) -> SecretStr | None:
        """The key that the account `default` gets at start, or None for none."""
        return self.own_bootstrap_key or next(iter(self._made("BOOTSTRAP_API_KEY")), None)

    def _made(self, name: str) -> tuple[SecretStr, ...]:
        return (SecretStr(kept_secret(self.state_dir, name)),) if self.app_env == "dev" else ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for problem in problems(self):
            raise ValueError(problem)
        return self


_FIELDS = {field.alias or name.upper(): field for name, field in Settings.model_fields.items()}
_last: tuple[tuple[str | None, ...], Settings] | None = None


def load() -> Settings:
    """The settings as the environment has them now; checked again only when one of them changed.

    Raises:
        SettingsError: a variable is wrong or missing.
    """
    global _last
    values = tuple(map(os.environ.get, _FIELDS))
    last = _last
    if last is None or last[0] != values:
        last = _last = (values, _checked(dict(zip(_FIELDS, values, strict=True))))
    return last[1]


def start(folder: Path = ROOT) -> Settings:
    """Read `.env.<APP_ENV>` in `folder` beneath what the environment already says, and check everything.

    Called once by each program, before anything else.

    Raises:
        SystemExit: a variable is wrong or missing; the one line goes to standard error.
    """
    name = os.environ.get("APP_ENV", "").strip() or "dev"
    load_dotenv(folder / f".env.{name}", override=False)
    try:
        return load()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


def dev_secret(name: str) -> str:
    """What stands in for the unset variable `name` in dev: made once, the same for every process.

    Raises:
        SettingsError: it is not dev, where the variable itself must be set.
    """
    settings = load()
    if settings.app_env != "dev":
        raise SettingsError(f"{name} is not set; it should be set when APP_ENV={settings.app_env}")
    return kept_secret(settings.state_dir, name)


def _checked(values: dict[str, str | None]) -> Settings:
    given = {name: value.strip() for name, value in values.items() if value and value.strip()}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_line(error.errors()[0], given)) from None


def _line(error: ErrorDetails, given: dict[str, str]) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name = str(error["loc"][0])
    field = _FIELDS[name]
    secret = not field.repr or "Secret" in str(field.annotation)
    return f"{name} is {'not valid' if secret else repr(given.get(name))}; it should be {field.description}"
