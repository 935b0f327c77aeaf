"""A reply's text while its tokens arrive: what can be shown already, and whether a stop has come.

Knows no torch. The pieces it gives, joined, are exactly the text of the whole reply.
"""

import codecs
import unicodedata
from collections.abc import Iterable, Sequence

from chatbot.cleaning import clean_turn
from chatbot.tokenizer import RESERVED, Tokenizer


class ReplyText:
    """Turn tokens into cleaned text piece by piece.

    Held back are the bytes of a character that is not whole yet, the last character as long as an accent may still
    join it, and what may be the beginning of a stop.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._longest = max(map(len, stop), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""
        self._told = 0
        self.text = ""
        """The text so far; once stopped or finished, all of it."""
        self.stopped = False

    def add(self, tokens: Iterable[int]) -> str:
        """Take `tokens` in and return the new text that is certain by now; nothing once stopped."""
        if self.stopped:
            return ""
        more = b"".join(self._tokenizer.piece(token) for token in tokens if token >= len(RESERVED))
        self._raw += self._decoder.decode(more)
        return self._tell(_settled(self.text_of(self._raw)), final=False)

    def finish(self) -> str:
        """Return the rest of the text: the reply has ended."""
        if self.stopped:
            return ""
        self._raw += self._decoder.decode(b"", final=True)
        return self._tell(self.text_of(self._raw), final=True)

    @staticmethod
    def text_of(raw: str) -> str:
        """Return decoded text as it is shown."""
        return clean_turn(raw)

    def _tell(self, text: str, final: bool) -> str:
        end = len(text)
        if self._stop:
            start = max(0, self._told - self._longest)
            found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop, start)) >= 0]
            if found:  # the first to be complete, so that it is the same however many tokens come at once
                end, self.stopped = min(found)[1], True
            elif not final:
                end -= self._begun_stop(text)
        self.text = text[:end]
        told, self._told = self._told, max(self._told, end)
        return text[told:end]

    def _begun_stop(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of a stop."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            if any(len(stop) > size and text.endswith(stop[:size]) for stop in self._stop):
                return size
        return 0


def _settled(text: str) -> str:
    """Return `text` without its last character and that one's accents: what follows may make another of them."""
    end = len(text) - 1
    while end > 0 and unicodedata.combining(text[end]):
        end -= 1
    return text[: max(end, 0)]
