"""The tokenizer of a pretrained language model as one of ours: its ids moved behind the reserved ones.

Knows the `tokenizer.json` that the tokenizers library writes; no language model and no chat template. Id i of the model
is id i + BORROWED_BY here, so the vocabulary is BORROWED_BY larger, and nothing else changes.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import tokenizers

from chatbot.errors import TokenizerError
from chatbot.tokenizer import RESERVED, Tokenizer

BORROWED_BY: Final = len(RESERVED)


def borrow(native: str) -> Tokenizer:
    """Return the tokenizer that `native`, the text of a `tokenizer.json`, describes, with moved ids.

    Raises TokenizerError for a kind that loses text (WordPiece, WordLevel), for one that breaks down at some text, and
    for one that would read a reserved id or one of the model's own special tokens out of a text.
    """
    tree = json.loads(native)
    kind = tree["model"].get("type", "BPE")
    if kind not in ("BPE", "Unigram"):
        raise TokenizerError(f"a {kind} tokenizer cannot give every text back, expected BPE or Unigram")
    special = [added["content"] for added in tree["added_tokens"] if added["special"]]
    _make_room(tree)
    tree |= {"post_processor": None, "truncation": None, "padding": None}
    try:
        tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(tree)))
    except TokenizerError:
        raise
    except Exception as error:  # the library raises bare Exception for every fault
        raise TokenizerError(f"the tokenizer cannot be taken over ({error})") from None
    forbidden = {*range(BORROWED_BY), *(added["id"] for added in tree["added_tokens"] if added["special"])}
    for text in (*RESERVED, *special):
        if not forbidden.isdisjoint(tokenizer.encode(text)):
            raise TokenizerError(f"the text {text!r} would be read as a special token")
    return tokenizer


def give_back(tokenizer: Tokenizer) -> str:
    """Return the `tokenizer.json` that `tokenizer` was borrowed from: its own ids and names, and what texts it takes.

    What it put around texts and how it padded was given up on borrowing.
    """
    tree = json.loads(tokenizer.to_json())
    model = tree["model"]
    tree["added_tokens"] = [entry for entry in tree["added_tokens"] if entry["id"] >= BORROWED_BY]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {piece: number for piece, number in model["vocab"].items() if number >= BORROWED_BY}
    else:
        model["vocab"] = model["vocab"][BORROWED_BY:]
    taken, names = _names(tree), {}
    for name in RESERVED:
        other = f"<{name}>"
        while f"<{other}>" in taken:
            other = f"<{other}>"
        names[other] = name
    _move(tree, -BORROWED_BY, names)
    return json.dumps(tree, ensure_ascii=False)


def _make_room(tree: dict[str, Any]) -> None:
    """Move all ids by BORROWED_BY and put the reserved tokens first; a token that has their name gets another."""
    model = tree["model"]
    taken, names = _names(tree), {}
    for name in RESERVED:
        other = name
        while other in taken:
            other = f"<{other}>"
        names[name] = other
    pieces = model["vocab"]
    if isinstance(pieces, list) and model.get("unk_id") is None:  # it would break down at the first such character
        raise TokenizerError("a Unigram tokenizer without a piece for unknown characters cannot take every text")
    _move(tree, BORROWED_BY, names)
    if isinstance(pieces, dict):
        model["vocab"] = {name: number for number, name in enumerate(RESERVED)} | model["vocab"]
    else:
        rarest = min(score for _, score in pieces)  # lower, and unknown characters would be dearer than they were
        model["vocab"] = [[name, rarest] for name in RESERVED] + model["vocab"]
    shape = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    reserved = [{"id": number, "content": name, **shape} for number, name in enumerate(RESERVED)]
    tree["added_tokens"] = reserved + tree["added_tokens"]


def _names(tree: Mapping[str, Any]) -> set[str]:
    """Return what all tokens are called."""
    vocabulary = tree["model"]["vocab"]
    pieces = vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary)
    return {*pieces, *(entry["content"] for entry in tree["added_tokens"])}


def _move(tree: dict[str, Any], by: int, names: Mapping[str, str]) -> None:
    """Move all ids by `by`, in place; a token that `names` knows gets another name."""
    model = tree["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(piece, piece): number + by for piece, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
        model["unk_id"] += by
    tree["added_tokens"] = [
        {**entry, "id": entry["id"] + by, "content": names.get(entry["content"], entry["content"])}
        for entry in tree["added_tokens"]
    ]
