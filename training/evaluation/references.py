"""Replies against several right ones for the same context: the best of the BLEU with each.

Knows the file that such contexts come in, and text; no model. Scores are sacreBLEU's, on its scale from 0 to 100.
`C` contexts.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.bleu import BLEU

from chatbot.cleaning import clean_turn
from training.corpus.errors import CorpusError
from training.corpus.sources import lines
from training.evaluation.dullness import Language, language_of


@dataclass(frozen=True)
class Referenced:
    """A context, and what could rightly be replied."""

    context: tuple[str, ...]
    replies: tuple[str, ...]


def read_references(path: Path) -> list[Referenced]:
    """Read JSON lines of {"context": [turns], "references": [replies]}, gzip or not; other fields are passed over.

    Texts are cleaned as corpora are. Raises CorpusError, with line and field, for what is not that: no JSON object,
    a list that is missing, empty or of something else than text; and for a file without a line.
    """
    found = []
    for number, line in enumerate(lines(path), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(entry, dict):
            raise CorpusError(f"{path}, line {number}: {type(entry).__name__}, expected a JSON object")
        where = f"{path}, line {number}"
        found.append(Referenced(_texts(entry, "context", where), _texts(entry, "references", where)))
    if not found:
        raise CorpusError(f'{path}: empty, expected lines of {{"context": [...], "references": [...]}}')
    return found


def max_bleu(replies: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> npt.NDArray[np.float64]:
    """Return for each of C replies the greatest BLEU-n with one of its own references, [C], 0 to 100.

    Sentence BLEU over the n-gram orders that the reply is long enough for, zero counts smoothed exponentially (2^-k),
    as sacreBLEU does; case counts. Where the references are Chinese, characters are the tokens. Raises ValueError when
    the numbers differ or a reply has no reference.

    Paper: Papineni et al. 2002, "Bleu"; the best of several, because right replies to one context have little in
    common: Gupta et al. 2019, "Investigating Evaluation of Open-Domain Dialogue Systems With Human Generated Multiple
    References".
    """
    if len(replies) != len(references) or not all(references):
        raise ValueError(f"{len(replies)} replies and {len(references)} lists of references, each with one or more")
    return np.array(
        [
            max(_bleu(n, language_of(" ".join(right))).sentence_score(reply, [one]).score for one in right)
            for reply, right in zip(replies, references, strict=True)
        ],
        np.float64,
    )


def _texts(entry: dict[str, Any], field: str, where: str) -> tuple[str, ...]:
    texts = entry.get(field)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise CorpusError(f'{where}, field "{field}": expected a list of one or more texts')
    return tuple(map(clean_turn, texts))


@functools.cache
def _bleu(n: int, language: Language) -> BLEU:
    return BLEU(max_ngram_order=n, effective_order=True, tokenize="zh" if language == "zh" else "13a")
