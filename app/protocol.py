"""HTTP as uvicorn speaks it, with an end to what may come before a body: neither the parser nor uvicorn has one."""

import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD: Final = 64 * 1024
"""Bytes of the request's line and headers; a little more passes when it comes in one piece with the end."""


def refusal(status: str, message: str, code: str) -> bytes:
    """Return the answer, in the one shape of all errors, to who is no further than the protocol."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = json.dumps({"error": error}, separators=(",", ":"))
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
    return f"HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}".encode("ascii")


_REFUSAL: Final = refusal(
    "431 Request Header Fields Too Large", f"the headers are longer than {LONGEST_HEAD} bytes", "headers_too_large"
)


class LimitedHead(HttpToolsProtocol):
    """Refuses a head that does not end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._length = 0

    def data_received(self, data: bytes) -> None:
        """Take what comes in."""
        if self._in_head:
            self._length += len(data)
        super().data_received(data)
        if self._in_head and self._length > LONGEST_HEAD and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Note that the head has ended."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the next head may begin."""
        super().on_message_complete()
        self._in_head, self._length = True, 0
