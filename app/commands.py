"""What `rejoinder serve` and `rejoinder migrate` do. Importing this file imports no web framework and no torch."""

import socket
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chatbot.errors import RejoinderError
from chatbot.memory import share_freed_memory
from chatbot.models_directory import bundles_in
from chatbot.priority import give_way
from chatbot.released import released_bundles

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from app.database import Database
    from app.settings import Settings


def serve(
    models: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    state: Path | None = None,
    device: str | None = None,
) -> None:
    """Serve the bundles of the directory `models` until interrupted; what is None comes from the environment.

    Where neither says which models, and there are none in ./models, those that come with the project are served.
    Raises RejoinderError when the models, the database or the port cannot be opened.
    """
    import asyncio

    from app.chat.guarding import Guard
    from app.keys.commands import has_usable_key
    from app.logs import configure_logging
    from app.server import run_server

    share_freed_memory()  # before there are threads
    give_way()
    settings = with_models(read_settings(models=models, host=host, port=port, state=state, device=device))
    if not settings.models.is_dir():
        raise RejoinderError(f"{settings.models}: no such directory; expected one with a sub-directory for each model")
    Guard.of(settings)  # the app does both too; here a fault is one line and not a stack of frames
    with opened(settings) as database:  # brings the schema up to date, once for all that follows
        lacks_keys = settings.admits != "all" and not has_usable_key(database)
    listening = listen(settings.host, settings.port)

    def announce(names: str) -> None:
        address = f"http://{shown(settings.host)}:{listening.getsockname()[1]}"
        sys.stdout.write(f"Rejoinder serves {names or 'no model yet'} at {address}\n")
        if lacks_keys:
            sys.stdout.write("Others can reach it, so it needs keys; `rejoinder keys create --scope admin` makes one\n")
        sys.stdout.flush()

    configure_logging(settings)
    # Ctrl-C is how one stops it: no stack of frames for that.
    with listening, suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run_server(settings, listening, announce))


def migrate(state: Path | None = None, database_url: str | None = None) -> None:
    """Bring the database to the newest schema; what is None comes from the environment.

    Raises RejoinderError when it cannot be opened or is newer than this program.
    """
    from app.migration import migrate_database

    migrate_database(read_settings(state=state, database_url=database_url).database)


def read_settings(**given: object) -> "Settings":
    """Return the settings: those `given` that are not None, else the environment's. Raises RejoinderError."""
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise RejoinderError(f"setting {name} (REJOINDER_{name.upper()}): {first['msg'].lower()}") from None


def with_models(settings: "Settings") -> "Settings":
    """Return the settings with the released models where nobody chose any and there are none."""
    own = "models" in settings.model_fields_set or bool(bundles_in(settings.models))
    released = None if own else released_bundles()
    return settings if released is None else settings.model_copy(update={"models": released})


@contextmanager
def opened(settings: "Settings") -> "Iterator[Database]":
    """Give the migrated database of `settings`; what the service would answer with an error is a RejoinderError."""
    from app.database import Database
    from app.errors import DATABASE_AWAY, ServiceError, from_exception
    from app.migration import migrate_database

    migrate_database(settings.database)
    database = Database(settings.database)
    try:
        yield database
    except (ServiceError, *DATABASE_AWAY) as error:
        raise RejoinderError(from_exception(error).message) from error
    finally:
        database.close()


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """Return what makes the faster event loop, where there is one for this system; None is Python's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def open_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError where none can."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)


def listen(host: str, port: int) -> socket.socket:
    """Return the socket to serve on. Raises RejoinderError."""
    from app.connections import bound_sending

    try:
        listening = open_port(host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RejoinderError(f"cannot listen on {host} port {port}: {reason}") from None
    # asyncio does this for sockets that it makes itself. Without it an answer's second packet waits for the client to
    # acknowledge the first, which clients put off for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound_sending(listening)
    return listening


def shown(host: str) -> str:
    """Return a host that can be opened in a browser."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
