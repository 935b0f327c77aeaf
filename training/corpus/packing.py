"""Writes the arrays of one split as they are described in `layout`. Knows token ids, no text and no tokenizer."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from chatbot.tokenizer import TURN
from training.corpus.layout import ARRAYS, MANY_TOKENS

_TURN_END: Final = [TURN]


class ArrayWriter:
    """Write a `.npy` file piece by piece: its size is not known before the end and need not fit into memory."""

    def __init__(self, path: Path, dtype: str, columns: int | None = None) -> None:
        self._dtype = np.dtype(dtype)
        self._columns = columns
        self._rows = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add `rows` at the end."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        """Write the true shape into the header and close the file."""
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()  # numpy leaves room in the header for the first axis to grow
        self._file.seek(end)
        self._file.close()

    def _write_header(self) -> None:
        shape = (self._rows,) if self._columns is None else (self._rows, self._columns)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class SplitWriter:
    """Write one split into `directory`, which must exist and be empty; a context reaches back `max_turns` turns."""

    def __init__(self, directory: Path, max_turns: int, vocabulary_size: int = 0) -> None:
        self._max_turns = max_turns
        types = ARRAYS if vocabulary_size <= 2**16 else {**ARRAYS, "tokens": MANY_TOKENS}
        self._tokens_type = np.dtype(types["tokens"])
        self._writers = {
            name: ArrayWriter(directory / f"{name}.npy", dtype, columns=2 if name == "pairs" else None)
            for name, dtype in types.items()
        }
        self._tokens = 0
        self._turns = 0
        for name in ("turns", "dialogues"):
            self._writers[name].append(np.zeros(1, np.int64))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def add(self, turns: Sequence[list[int]], replies: Sequence[int]) -> None:
        """Write one dialogue: the ids of each turn, without TURN, and which turns (never the first) are replies."""
        ids = np.fromiter(chain.from_iterable(chain(turn, _TURN_END) for turn in turns), self._tokens_type)
        ends = self._tokens + np.cumsum([len(turn) + 1 for turn in turns])
        reply = np.array(replies, np.int64)
        first = np.maximum(reply - self._max_turns, 0)
        self._writers["tokens"].append(ids)
        self._writers["turns"].append(ends)
        self._writers["pairs"].append(self._turns + np.stack([first, reply], axis=1))
        self._tokens += len(ids)
        self._turns += len(turns)
        self._writers["dialogues"].append(np.array([self._turns]))
