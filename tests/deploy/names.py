"""A name server of a few lines, which says of one name what a test wants it to: as Docker's own does of a service."""

import socket
import struct
import threading


class Names:
    """Answers whoever asks for the addresses of `app`."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                question, asker = self._socket.recvfrom(2048)
            except OSError:
                return
            if question:
                self._socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        end = question.index(b"\0", 12) + 5  # the name's end, its type and its class
        [kind] = struct.unpack("!H", question[end - 4 : end - 2])
        known = question[12:].startswith(b"\x03app")
        found = self.addresses if known and kind == 1 else ()
        flags = 0x8180 if known else 0x8183  # 3: there is no such name
        records = b"".join(struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(one) for one in found)
        return question[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + question[12:end] + records

    def close(self) -> None:
        """End it."""
        self._socket.close()
