"""What can be set from outside: the environment (`REJOINDER_...`) or the command line, and nothing else."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
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
    """Replies waiting to be drawn before the service answers 429."""
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
    admin_key: str | None = Field(default=None, repr=False)
    """Needed to have models loaded anew; without one, only a service that listens on this machine alone does so."""

    @property
    def database(self) -> str:
        """Return the URL of the database in use."""
        return self.database_url or f"sqlite:///{self.state / 'rejoinder.db'}"
