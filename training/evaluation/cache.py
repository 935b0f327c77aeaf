"""What an interrupted evaluation keeps: answers to questions, each in a file of its own, whole or not at all.

Knows keys and JSON; refuses to know what is asked. A question is its key: whatever changes the answer belongs in it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.run import write_atomically


class Cache:
    """Keep answers under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, kind: str, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return the answer to `key`, read from disk or made now and written there.

        `make` returns what JSON can hold; fresh and kept answers are the same, for both come out of JSON. A file that
        cannot be read is made again.
        """
        path = self.path(kind, key)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["key"] == key:
                return kept["answer"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there, or damaged: it is made now, which is what it is for
        text = json.dumps({"key": key, "answer": make()}, ensure_ascii=False, allow_nan=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode("utf-8", "surrogatepass"))
        return json.loads(text)["answer"]

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Return where the answer to `key` is or will be."""
        return self._directory / kind / f"{fingerprint(key)[:40]}.json"


def fingerprint(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return the sha256 (hex) of `value` as JSON: what stands for long texts and lists in a key."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
