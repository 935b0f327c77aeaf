"""How long a connection may keep us: heads and bodies that trickle in, readers that never read, peers that vanished.

Pure protocol, below ASGI: no route knows of it. uvicorn itself bounds only the pause between two requests.
"""

import asyncio
import socket
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.protocol import LimitedHead, refusal

LEAST_BYTES = 1024
"""Of a body, that must come within each period, unless it ends."""
_TOO_SLOW = refusal("408 Request Timeout", "the request came too slowly", "request_timeout")


class BoundedProtocol(LimitedHead):
    """HTTP/1.1 whose connections end in bounded time, whatever the other side does or leaves undone.

    A request's head must be there within `seconds`, and a body go on by `LEAST_BYTES` in each period of that length;
    else the answer is 408. Time in which we ourselves do not read is not counted. A client that reads nothing of what
    is sent to it for `sending_seconds` is cut off.
    """

    seconds = 20.0
    sending_seconds = 60.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._came = 0
        """Bytes of the body in this period."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_receiving()
        self._stop_sending()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for a head after what is none yet, such as an empty line between two requests."""
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._receiving is None and not self.transport.is_closing():
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Wait for the rest of the head; the first request's has been waited for since the connection was made."""
        super().on_message_begin()
        if self._receiving is None:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        self._stop_receiving()
        self._came = 0
        self._receiving = self.loop.call_later(self.seconds, self._look_at_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what has come."""
        self._came += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing: it is our turn."""
        self._stop_receiving()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Give the reader some time."""
        if self._sending is None:
            self._sending = self.loop.call_later(self.sending_seconds, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Wait for nothing: it has read."""
        self._stop_sending()
        super().resume_writing()

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _wait_for_head(self) -> None:
        self._receiving = self.loop.call_later(self.seconds, self._give_up)

    def _look_at_body(self) -> None:
        if self._came < LEAST_BYTES and not self.flow.read_paused:
            self._give_up()
            return
        self._came = 0
        self._receiving = self.loop.call_later(self.seconds, self._look_at_body)

    def _give_up(self) -> None:
        self._receiving = None
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_TOO_SLOW)
        self.transport.close()


def bound_sending(listening: socket.socket) -> None:
    """Let the kernel end the connections of `listening` whose peer takes nothing: it vanished, or never reads.

    Accepted sockets have the options of the one that listens. `pause_writing` sees only what does not fit the buffers.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(BoundedProtocol.sending_seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
