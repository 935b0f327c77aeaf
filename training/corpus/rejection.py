"""The log of records that could not be used: written down one by one, counted, and too many of them is an error."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from training.corpus.errors import CorpusError
from training.corpus.records import Rejection

SHOWN: Final = 3
"""How many rejections an error message quotes."""


class RejectionLog:
    """Write rejections to `path` as JSON lines `{"file", "line", "reason", "text"}` and keep count by kind."""

    def __init__(self, path: Path) -> None:
        # A lone surrogate in a file's name must not end the run: in JSON its escape is right as it stands.
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self.kinds: Counter[str] = Counter()
        self._first: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def count(self) -> int:
        """Return how many records were rejected."""
        return self.kinds.total()

    def add(self, file: str, rejection: Rejection) -> None:
        """Write one rejection down."""
        self.kinds[rejection.kind] += 1
        if len(self._first) < SHOWN:
            self._first.append(f"{file}:{rejection.line} {rejection.reason}")
        entry = {"file": file, "line": rejection.line, "reason": rejection.reason, "text": rejection.text}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def check(self, records: int, largest_share: float, kept_at: Path) -> None:
        """Raise CorpusError when more than `largest_share` of all `records` were rejected."""
        if self.count > largest_share * records:
            share = self.count / records
            raise CorpusError(
                f"{self.count:,} of {records:,} records ({share:.2%}) cannot be used, allowed are {largest_share:.2%}: "
                f"{'; '.join(self._first)}{'; ...' if self.count > SHOWN else ''} (all of them are in {kept_at})"
            )
