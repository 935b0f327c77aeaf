"""Contexts of a prepared split as text, with the human reply to each: what people are asked to judge models by.

Writes JSON lines that `rejoinder study` and `rejoinder generate` read. Knows no model and no study.
"""

import json
import random
from itertools import pairwise
from pathlib import Path

from chatbot.tokenizer import TURN, Tokenizer
from chatbot.whole_file import whole_file
from training.corpus.dataset import PreparedDataset, Split
from training.corpus.errors import CorpusError


def export_contexts(data: Path, out: Path, *, split: str, limit: int, seed: int, each: int = 1) -> int:
    """Write up to `limit` contexts of a split to `out`, and return how many; the same seed gives the same ones.

    At most `each` from one dialogue, drawn at random, first one of every dialogue, then a second one: neighbouring
    contexts share most of their words, and a rater who knows one of them knows the other. A line has `turns`, `reply`,
    `source` and `split`.
    Raises CorpusError when there is no such dataset or split, or `out` cannot be written.
    """
    dataset = PreparedDataset.open(data)
    pairs = dataset.split(split)
    tokenizer = Tokenizer.load(dataset.tokenizer_path)
    rng = random.Random(seed)
    by_dialogue: dict[int, list[int]] = {}
    for i in range(len(pairs)):
        by_dialogue.setdefault(pairs.dialogue_of(i), []).append(i)
    dialogues = sorted(by_dialogue)
    rng.shuffle(dialogues)
    chosen = (
        _taken(by_dialogue[dialogue], rng) for _ in range(each) for dialogue in dialogues if by_dialogue[dialogue]
    )
    source = f"{data.resolve().name}, pair "
    rows: list[dict[str, str | list[str]]] = []
    for i in chosen:
        if len(rows) == limit:
            break
        turns, reply = _turns(pairs, i, tokenizer), _text(tokenizer, pairs.reply(i).tolist())
        if all(turns) and reply:
            rows.append({"turns": turns, "reply": reply, "source": f"{source}{i}", "split": split})
    if not rows:
        raise CorpusError(f"{data}: the split {split} has no context with words in it")
    try:
        with whole_file(out) as file:
            file.writelines((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows)
    except OSError as error:
        raise CorpusError(f"{out}: cannot be written ({error.strerror})") from None
    return len(rows)


def _taken(pairs: list[int], rng: random.Random) -> int:
    """Remove a random one of `pairs` and return it."""
    pair = rng.choice(pairs)
    pairs.remove(pair)
    return pair


def _turns(pairs: Split, i: int, tokenizer: Tokenizer) -> list[str]:
    first, reply = pairs.pairs[i]
    bounds = pairs.turns[first : reply + 1].tolist()
    return [_text(tokenizer, pairs.tokens[begin:end].tolist()) for begin, end in pairwise(bounds)]


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids[:-1] if ids and ids[-1] == TURN else ids).strip()
