"""The table at a run's end: the same contexts and seeds for all, and nothing claimed that was not measured."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from chatbot.bundle import Bundle, Limits, load_bundle, save_bundle
from chatbot.discriminator import Discriminator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import Tokenizer
from training.corpus.dataset import PreparedDataset, Split
from training.errors import RunError
from training.evaluation.ngram import KneserNey
from training.evaluation.summary import Row, System, format_table, summarise

CONTEXT, REPLY = 24, 12


def make_bundle(path: Path, data: PreparedDataset, *, reply: int = REPLY, judged: bool = True) -> Path:
    torch.manual_seed(3)
    tokenizer = Tokenizer.load(data.tokenizer_path)
    shape = TrunkConfig("recurrent", 16, 1, 1, heads=2, feedforward=16, dropout=0.0)
    sizes = (tokenizer.vocabulary_size, CONTEXT, reply)
    discriminator = Discriminator(shape, *sizes) if judged else None
    save_bundle(Bundle(Seq2SeqGenerator(shape, *sizes), discriminator, tokenizer, Limits(CONTEXT, reply)), path)
    return path


def quiet(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""


def naive_perplexity(bundle: Bundle, split: Split) -> float:
    """Score one reply at a time, with torch's own loss and no padding."""
    total, count = 0.0, 0
    for i in range(len(split)):
        context = torch.from_numpy(split.context(i, CONTEXT).astype("int64"))[None]
        reply = torch.from_numpy(split.reply(i)[:REPLY].astype("int64"))[None]
        with torch.no_grad():
            logits = bundle.generator.score(bundle.generator.encode(context), reply)
        total += float(functional.cross_entropy(logits[0], reply[0], reduction="sum"))
        count += reply.shape[1]
    return math.exp(total / count)


def test_every_system_is_measured_on_the_same_held_out_replies(corpus: Path, tmp_path: Path) -> None:
    data = PreparedDataset.open(corpus)
    bundle = make_bundle(tmp_path / "model", data)
    systems = [System("plain", bundle), System("twin", bundle), System("best of 4", bundle, 4)]
    rows = {row.system: row for row in summarise(data, systems, 1000, quiet)}
    assert list(rows) == ["human", "Kneser-Ney trigram", "plain", "twin", "best of 4"]
    split, train = data.split("test"), data.split("train")
    perplexity = rows["plain"].perplexity
    assert perplexity == pytest.approx(naive_perplexity(load_bundle(bundle), split), rel=1e-4)
    trigram = KneserNey.fit([train.reply(i)[:REPLY] for i in range(len(train))], 320)
    expected = trigram.perplexity([split.reply(i)[:REPLY] for i in range(len(split))])
    assert rows["Kneser-Ney trigram"].perplexity == pytest.approx(expected)
    assert (rows["twin"].distinct_2, rows["twin"].mean_length) == (rows["plain"].distinct_2, rows["plain"].mean_length)
    assert rows["best of 4"].perplexity is None  # reranked samples have no likelihood that could be computed
    assert rows["best of 4"].distinct_1 != rows["plain"].distinct_1
    assert rows["human"].perplexity is None
    # The human replies are all different, or nearly so; untrained bytes are no reply at all but never repeat either.
    assert rows["human"].top_reply_share is not None
    assert 0 < rows["human"].top_reply_share < 0.3


def test_best_of_n_needs_a_discriminator_and_limits_must_agree(corpus: Path, tmp_path: Path) -> None:
    data = PreparedDataset.open(corpus)
    unjudged = make_bundle(tmp_path / "unjudged", data, judged=False)
    with pytest.raises(RunError, match="discriminator"):
        summarise(data, [System("best", unjudged, 2)], 10, quiet)
    longer = make_bundle(tmp_path / "longer", data, reply=REPLY + 4)
    with pytest.raises(RunError, match=r"different limits.*12.*16"):
        summarise(data, [System("a", unjudged), System("b", longer)], 10, quiet)


def test_the_table_is_aligned_and_marks_what_was_not_measured() -> None:
    table = format_table([Row("human", None, 0.25, 0.5, 0.01, 12.0), Row("a longer name", 123.456)])
    assert table.splitlines() == [
        "system         perplexity  distinct-1  distinct-2  top reply  length",
        "human                   -       0.250       0.500       1.0%    12.0",
        "a longer name       123.5           -           -          -       -",
    ]
