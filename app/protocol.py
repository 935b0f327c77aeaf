"""HTTP as uvicorn speaks it, with an end to what may come before a body: neither the parser nor uvicorn has one."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD: Final = 64 * 1024
"""Bytes of the request's line and headers; a little more passes when it comes in one piece with the end."""

_BODY: Final = (
    b'{"error":{"message":"the headers are longer than 65536 bytes","type":"invalid_request_error","param":null,'
    b'"code":"headers_too_large"}}'
)
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
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
