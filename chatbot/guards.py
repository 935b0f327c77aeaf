"""What is plainly wrong with a reply: it is empty, runs in a loop, or holds a blocked word. Knows text, and no torch.

No safety filter: a list of words knows nothing of what is meant.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, Self

from chatbot.errors import RejoinderError

Fault = Literal["empty", "repetition", "blocked"]

LANGUAGES: Final = ("en", "zh")
"""Those that have a list of blocked words."""
_LONGEST_PATTERN: Final = 40
"""Characters that a regular expression is taken to match at most, where somebody must wait for it."""
_LONGEST_LOOP: Final = 8
"""Units of the longest phrase whose repetition is looked for."""
_REPEATS: Final = 4
"""A phrase that is said so often in a row is a loop."""
_REPEATS_OF_WORD: Final = 6
_REPEATS_OF_CHARACTER: Final = 12
"""A Chinese character alone is repeated more often without harm: "哈哈哈哈" is laughter."""
_IDEOGRAPHS: Final = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_IDEOGRAPH: Final = re.compile(f"[{_IDEOGRAPHS}]")
_UNIT: Final = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
"""A Chinese or Japanese character, or a word of anything else."""


class Blocklist:
    """Words and patterns that no reply may hold, whatever their case and width.

    A word of letters with spaces between words counts as a whole word; Chinese has no spaces, so there it counts
    anywhere.
    """

    def __init__(self, lines: Iterable[str], source: str = "blocklist") -> None:
        """Read a word a line, or a regular expression between slashes; `#` begins a comment line.

        Raises RejoinderError naming the line of an expression that is none.
        """
        self._patterns: list[re.Pattern[str]] = []
        self.longest = 0
        """Characters of the longest thing that it can find."""
        for number, line in enumerate(lines, 1):
            entry = line.strip()
            if not entry or entry.startswith("#"):
                continue
            if len(entry) > 2 and entry[0] == entry[-1] == "/":
                pattern, length = entry[1:-1], _LONGEST_PATTERN
            else:
                pattern, length = re.escape(_folded(entry)), len(_folded(entry))
            if not _IDEOGRAPH.search(entry):
                pattern = rf"(?<!\w)(?:{pattern})(?!\w)"
            try:
                compiled = re.compile(pattern, re.IGNORECASE)
            except re.error as error:
                raise RejoinderError(f"{source}, line {number}: {entry} is no regular expression ({error})") from None
            if compiled.search(""):
                raise RejoinderError(f"{source}, line {number}: {entry} matches where there is nothing")
            self._patterns.append(compiled)
            self.longest = max(self.longest, length)

    @classmethod
    def standard(cls, own: Path | None = None) -> Self:
        """Return the short lists that come with Rejoinder, and those of the file `own`. Raises RejoinderError."""
        lines: list[str] = []
        for language in LANGUAGES:
            text = files("chatbot").joinpath("blocked_words", f"{language}.txt").read_text(encoding="utf-8")
            lines += text.splitlines()
        if own is None:
            return cls(lines)
        try:
            mine = own.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RejoinderError(f"{own}: cannot be read as a blocklist ({error})") from None
        cls(mine, str(own))  # so that a fault is told with its line
        return cls([*mine, *lines])

    def finds(self, text: str, *, whole: bool = True) -> bool:
        """Return whether `text` holds a blocked word; one not `whole` yet may go on, so a word at its end may, too."""
        folded = _folded(text)
        return any(
            whole or match.end() < len(folded) for pattern in self._patterns for match in pattern.finditer(folded)
        )


def fault_of(text: str, blocklist: Blocklist) -> Fault | None:
    """Return what is wrong with a reply."""
    if not text.strip():
        return "empty"
    if blocklist.finds(text):
        return "blocked"
    if loops(text):
        return "repetition"
    return None


def loops(text: str) -> bool:
    """Return whether `text` says the same word or phrase again and again, without anything in between."""
    units = _UNIT.findall(text.casefold())
    for size in range(1, _LONGEST_LOOP + 1):
        same = 0  # units in a row that are what stood `size` before them
        for here in range(size, len(units)):
            same = same + 1 if units[here] == units[here - size] else 0
            phrase = units[here - size + 1 : here + 1]
            if size == 1:
                needed = _REPEATS_OF_CHARACTER if _IDEOGRAPH.match(phrase[0]) else _REPEATS_OF_WORD
            elif len(set(phrase)) == 1:  # one word, which size 1 has counted
                continue
            else:
                needed = _REPEATS
            if same >= size * (needed - 1):
                return True
    return False


def redraw_seed(seed: int, attempt: int) -> int:
    """Return the seed of the `attempt`-th new draw (from 1 on) of what `seed` drew: another stream, always the same."""
    digest = hashlib.sha256(f"{seed} {attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 2**53


def language_of(text: str) -> Literal["en", "zh"]:
    """Return the language to refuse in: Chinese where there is a Chinese character."""
    return "zh" if _IDEOGRAPH.search(text) else "en"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
