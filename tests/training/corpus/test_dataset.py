"""The reader that training uses: contexts, replies, batches, and what it says of a damaged directory."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.tokenizer import PAD, TURN
from training.corpus.dataset import PreparedDataset, Split
from training.corpus.errors import CorpusError
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare


def split_of(dialogues: list[list[int]], max_turns: int = 3) -> Split:
    """Return a split of dialogues whose turns have the given numbers of ids, TURN not counted; ids count from 10."""
    lengths = [length + 1 for dialogue in dialogues for length in dialogue]
    turns = np.cumsum([0, *lengths])
    tokens = np.arange(10, 10 + turns[-1], dtype=np.uint16)
    tokens[turns[1:] - 1] = TURN
    ends = np.cumsum([0, *map(len, dialogues)])
    pairs = [
        (start + max(0, i - max_turns), start + i)
        for start, dialogue in zip(ends, dialogues, strict=False)
        for i in range(1, len(dialogue))
    ]
    return Split(tokens, turns, ends, np.array(pairs, np.int64).reshape(-1, 2))


SPLITS = st.builds(
    split_of,
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=7), min_size=1, max_size=5),
    st.integers(1, 4),
)


def naive_context(split: Split, i: int, max_tokens: int) -> list[int]:
    first, reply = split.pairs[i]
    kept: list[int] = []
    for turn in range(reply - 1, first - 1, -1):
        ids = split.tokens[split.turns[turn] : split.turns[turn + 1]].tolist()
        if len(ids) + len(kept) > max_tokens:
            return kept or ids[-max_tokens:]
        kept = ids + kept
    return kept


def naive_batch(rows: list[list[int]]) -> list[list[int]]:
    width = max(map(len, rows), default=0)
    return [row + [PAD] * (width - len(row)) for row in rows]


@given(SPLITS, st.integers(1, 20), st.data())
def test_contexts_and_batches_are_what_plain_loops_give(split: Split, max_tokens: int, data: st.DataObject) -> None:
    contexts = [naive_context(split, i, max_tokens) for i in range(len(split))]
    replies = [split.tokens[split.turns[r] : split.turns[r + 1]].tolist() for _, r in split.pairs]
    assert [split.context(i, max_tokens).tolist() for i in range(len(split))] == contexts
    assert [split.reply(i).tolist() for i in range(len(split))] == replies
    chosen = data.draw(st.lists(st.integers(0, len(split) - 1), min_size=1))
    context_batch = split.context_batch(np.array(chosen), max_tokens)
    reply_batch = split.reply_batch(chosen, max_tokens)
    assert context_batch.tolist() == naive_batch([contexts[i] for i in chosen])
    assert reply_batch.tolist() == naive_batch([replies[i][:max_tokens] for i in chosen])
    assert context_batch.dtype == reply_batch.dtype == np.int64


@given(SPLITS)
def test_lengths_and_dialogues(split: Split) -> None:
    context, reply = split.lengths()
    assert context.tolist() == [len(split.context(i, 10**6)) for i in range(len(split))]
    assert reply.tolist() == [len(split.reply(i)) for i in range(len(split))]
    for i, (_, turn) in enumerate(split.pairs):
        number = split.dialogue_of(i)
        assert split.dialogues[number] < turn < split.dialogues[number + 1]


def test_oldest_turns_go_first_and_whole() -> None:
    split = split_of([[3, 2, 1, 1]])
    last = len(split) - 1
    whole = [10, 11, 12, TURN, 14, 15, TURN, 17, TURN]
    assert split.context(last, 9).tolist() == whole
    assert split.context(last, 8).tolist() == whole[4:]
    assert split.context(last, 5).tolist() == whole[4:]
    assert split.context(last, 4).tolist() == whole[7:]
    assert split.context(last, 1).tolist() == [TURN]
    assert split.context(0, 2).tolist() == [12, TURN]


def test_a_reply_that_is_cut_has_no_end() -> None:
    split = split_of([[1, 3]])
    assert split.reply_batch([0], 4).tolist() == [[12, 13, 14, TURN]]
    assert split.reply_batch([0], 3).tolist() == [[12, 13, 14]]


def test_an_empty_batch_has_no_width() -> None:
    split = split_of([[1, 1]])
    assert split.context_batch(np.array([], np.int64), 4).shape == (0, 0)
    assert split.reply_batch(np.array([], np.int64), 4).shape == (0, 0)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    source = tmp_path / "a.txt"
    source.write_text("".join(f"question {i}\nanswer {i}\n\n" for i in range(10)), encoding="utf-8")
    prepare([str(source)], PrepareOptions(out=tmp_path / "data", vocabulary=300))
    return tmp_path / "data"


def test_a_prepared_dataset_opens_and_is_mapped_not_loaded(prepared: Path) -> None:
    dataset = PreparedDataset.open(prepared)
    assert dataset.tokenizer_path.is_file()
    split = dataset.split("train")
    assert len(split) == dataset.summary["splits"]["train"]["pairs"] == 8
    assert isinstance(split.tokens.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        split.tokens[0] = 1


def test_an_unknown_split_names_the_known(prepared: Path) -> None:
    with pytest.raises(CorpusError, match="'dev': expected one of train, valid, test"):
        PreparedDataset.open(prepared).split("dev")


def change(prepared: Path, **values: object) -> None:
    file = prepared / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def test_what_is_wrong_with_a_directory_is_named(prepared: Path, tmp_path: Path) -> None:
    def refused(words: str, path: Path = prepared) -> None:
        with pytest.raises(CorpusError, match=words):
            PreparedDataset.open(path)

    refused("not a prepared dataset", tmp_path)
    refused("not a prepared dataset", tmp_path / "none")
    tokens = prepared / "train" / "tokens.npy"
    whole = tokens.read_bytes()
    tokens.write_bytes(whole[:-2])
    refused(rf"tokens.npy: {len(whole) - 2} bytes, expected {len(whole)}; truncated")
    tokens.unlink()
    refused("tokens.npy: missing")
    tokens.write_bytes(whole)
    PreparedDataset.open(prepared)
    change(prepared, version=2)
    refused("a newer Rejoinder .format version 2, expected 1")
    change(prepared, version="1")
    refused("no format version")
    change(prepared, version=1, files={})
    refused("list of files is incomplete")
    change(prepared, format="other")
    refused("expected format 'rejoinder-dataset'")
    (prepared / "dataset.json").write_text('{"format": "rejoind', encoding="utf-8")
    refused("dataset.json: cannot be read")
    (prepared / "dataset.json").write_text("[]", encoding="utf-8")
    refused("not the description")


def test_arrays_that_are_damaged_or_exchanged_are_found(prepared: Path) -> None:
    train = prepared / "train"
    dataset = PreparedDataset.open(prepared)
    tokens = np.load(train / "tokens.npy")
    for array, words in [
        (tokens.astype(np.int32), "<i4 of 1 dimensions, expected <u2 of 1"),
        (tokens[:, None], "of 2 dimensions, expected <u2 of 1"),
        (tokens[:-3], "do not belong together"),
    ]:
        np.save(train / "tokens.npy", array)
        with pytest.raises(CorpusError, match=words):
            dataset.split("train")
    (train / "tokens.npy").write_bytes(b"no array")
    with pytest.raises(CorpusError, match=r"tokens\.npy: cannot be read as an array"):
        dataset.split("train")
