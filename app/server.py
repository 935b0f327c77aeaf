"""The running service: engines first, then HTTP; on SIGTERM not ready, then no new requests, then the end."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.connections import BoundedProtocol
from app.main import build_generation, create_app
from app.settings import Settings

_FINISH_SECONDS = 30


async def run_server(settings: Settings, listening: socket.socket, announce: Callable[[str], None]) -> None:
    """Serve on `listening` until told to stop; `announce` hears the models' names when they are loaded.

    Expects a database that is up to date. Raises RejoinderError when the models cannot be loaded.
    """
    generation = build_generation(settings)
    await generation.start()
    try:
        app = create_app(settings, generation, migrated=True)
        announce(", ".join(f"{card.name} ({card.device}, {card.precision})" for card in generation.models))
        await Server(configure(app, settings), app, settings.drain_seconds).serve(sockets=[listening])
    finally:
        await generation.stop()


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return how HTTP is spoken."""
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        log_config=None,  # as all that is logged: see `app.logs`
        log_level="warning",
        access_log=False,  # the addresses of conversations are secrets
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )


class Server(uvicorn.Server):
    """A server that says "not ready" for a while before it stops listening, so that no balancer sends it requests."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop: on SIGTERM after a while, on Ctrl-C or at the second signal at once."""
        started = hasattr(self._app.state, "leaving")  # before that there is nothing to wait for
        if sig == signal.SIGTERM and started and not self._app.state.leaving:
            self._app.state.leaving = True
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, self._leave, sig)
        else:
            self._leave(sig)

    def _leave(self, sig: int) -> None:
        super().handle_exit(sig, None)
