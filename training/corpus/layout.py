"""Where the parts of a prepared dataset lie on disk: what the writer and the reader must agree on, and nothing else.

A directory holds `dataset.json`, `tokenizer.json`, `rejected.jsonl` and, for each split, four arrays:

- `tokens.npy`: the ids of all turns one after the other, each turn ended by TURN;
- `turns.npy`: where each turn begins in `tokens`, and the end;
- `dialogues.npy`: where each dialogue begins in `turns`, and the end;
- `pairs.npy` [P, 2]: the first turn of the context, the turn that is the reply. The context is everything between.

So a dialogue is stored once however many pairs it gives, a context is one slice, and TURN is at once the mark between
the turns of a context and the end token of a reply.
"""

from typing import Final

FORMAT: Final = "rejoinder-dataset"
VERSION: Final = 1
"""Raised when a reader of the old version would misread the new one."""

DESCRIPTION: Final = "dataset.json"
TOKENIZER: Final = "tokenizer.json"
REJECTED: Final = "rejected.jsonl"

TRAIN: Final = "train"
VALID: Final = "valid"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VALID, TEST)

ARRAYS: Final = {"tokens": "<u2", "turns": "<i8", "dialogues": "<i8", "pairs": "<i8"}
"""Name of each array of a split and its type on disk (little-endian, so that files travel between machines)."""
MANY_TOKENS: Final = "<u4"
"""The type of `tokens` where the tokenizer, one borrowed from a language model, has more ids than 16 bits can tell."""
