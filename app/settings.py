"""What can be set from outside: the command line, the environment (`REJOINDER_...`), a file for each secret."""

import ipaddress
import os
from pathlib import Path
from typing import Final, Literal

import limits
import sqlalchemy as sa
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

SECRETS: Final = Path("/run/secrets")
"""Where container engines put secrets: `rejoinder_database_password` there is REJOINDER_DATABASE_PASSWORD."""

Admits = Literal["none", "chat", "all"]


class Settings(BaseSettings):
    """Say where the models and the data are, where to listen, and how much one caller may ask for."""

    # protected_namespaces: `models` is a word of our domain, not of pydantic's.
    model_config = SettingsConfigDict(env_prefix="REJOINDER_", frozen=True, protected_namespaces=())

    models: Path = Path("models")
    """One sub-directory for each bundle; its name is the model's."""
    state: Path = Path("state")
    """Where the SQLite file and uploaded files live; replicas of one service share it."""
    database_url: str | None = Field(default=None, repr=False)  # holds a password: never printed
    """PostgreSQL in production; without it, SQLite in the state directory."""
    database_password: str | None = Field(default=None, repr=False)
    """Put into `database_url`, so that a file of its own can hold it."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_format: Literal["auto", "console", "json"] = "auto"
    """auto: for people on a terminal, else JSON."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    device: str = "auto"

    max_body_bytes: int = Field(default=1_048_576, ge=1)
    max_messages: int = Field(default=256, ge=1)
    """Messages of one history, or turns of one context."""
    max_message_chars: int = Field(default=16_000, ge=1)
    max_contexts: int = Field(default=128, ge=1)
    """Contexts of one `POST /v1/replies`."""
    max_candidates: int = Field(default=256, ge=1)
    """Replies that one call may make the generator draw, those dropped by `best_of` counted."""
    max_file_bytes: int = Field(default=100 * 2**20, ge=1)
    """Of one uploaded file."""
    max_batch_lines: int = Field(default=50_000, ge=1)
    """Requests of one batch."""
    takeover_seconds: float = Field(default=30.0, gt=0)
    """A replica that has shown no sign of life for so long is dead: others go on with its batches."""
    queue_capacity: int = Field(default=1024, ge=1)
    """Replies waiting to be drawn before the service answers 429; lists and batches are counted by themselves."""
    patience: float = Field(default=2.0, gt=0)
    """How many times as long as a reply takes to be written a request before a screen may wait before that, at most."""
    batch_size: int = Field(default=64, ge=1)
    """Replies that one engine writes side by side, for each model."""
    engines: int | None = Field(default=None, ge=1)
    """Engine processes; by default one for each GPU, or for each core but one."""
    precision: str = "auto"
    """auto (the fastest that stays close to fp32), fp32, bf16 or int8."""
    queue_seconds: float = Field(default=60.0, gt=0)
    """A request that found no free lane for so long is answered 503."""
    silence_seconds: float = Field(default=60.0, gt=0)
    """An engine that has work and says nothing for so long is ended and started again."""
    ping_seconds: float = Field(default=15.0, gt=0)
    """A stream that has nothing to tell for so long sends a comment, so that nobody in between closes it."""
    drain_seconds: float = Field(default=2.0, ge=0)
    """After SIGTERM the service is not ready, but still takes requests, for so long: the balancer must notice first."""
    guards: bool = True
    """Draw empty replies and loops anew, and refuse what holds a blocked word. No safety filter: a model imitates its
    data."""
    blocklist: Path | None = None
    """Further blocked words: one a line, or between two slashes a regular expression."""
    guard_hook: str | None = None
    """`module:function`: called with the messages and each reply; returns None, or what is said instead."""
    anonymous: Admits | None = None
    """What may be done without a key: none, chat (talking, voting in the arena) or all. By default all where only this
    machine can ask, else none."""
    trusted_proxies: str = ""
    """Addresses or networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    limit_keys: str = "6000/minute"
    """Requests of one key; off is any number. On a service for this machine alone nothing is counted."""
    limit_anonymous: str = "120/minute"
    """Requests of one address without a key, wrong keys included."""
    limit_raters: str = "1200/minute"
    """Requests of raters at one address: a class room may share one."""

    @field_validator("limit_keys", "limit_anonymous", "limit_raters")
    @classmethod
    def _is_a_limit(cls, text: str) -> str:
        if text != "off":
            try:
                limits.parse(text)
            except ValueError:
                raise ValueError(f"is {text!r}, expected off or a limit such as 600/minute") from None
        return text

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can ask: it listens on itself, and for no proxy."""
        if self.trusted_proxies:
            return False
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def admits(self) -> Admits:
        """Return what may be done without a key."""
        return self.anonymous or ("all" if self.is_local else "none")

    @property
    def database(self) -> str:
        """Return the URL of the database in use."""
        if self.database_url is None:
            return f"sqlite:///{self.state / 'rejoinder.db'}"
        if self.database_password is None:
            return self.database_url
        try:
            url = sa.make_url(self.database_url)
        except sa.exc.ArgumentError:
            return self.database_url  # who opens it says what is wrong with it
        return url.set(password=self.database_password).render_as_string(hide_password=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the first before the others; a file `.env` is not read."""
        folder = secrets_folder()
        secrets = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder.is_dir() else ()
        return (init_settings, env_settings, *secrets)


def secrets_folder() -> Path:
    """Return the directory whose files are settings."""
    return Path(os.environ.get("REJOINDER_SECRETS_DIR", SECRETS))
