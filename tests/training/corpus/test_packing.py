"""What is packed can be unpacked: any text, any number of turns."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatbot.tokenizer import RESERVED, TURN, Tokenizer
from training.corpus.cleaning import clean_text
from training.corpus.dataset import Split
from training.corpus.layout import ARRAYS
from training.corpus.packing import ArrayWriter, SplitWriter

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["hello there, how are you?", "你好，你今天怎么样？", "haha 😂😂"] * 5, 400)


def load(directory: Path) -> Split:
    return Split(**{name: np.load(directory / f"{name}.npy") for name in ARRAYS})


@given(ANY_TEXT)
@example("你好 👩‍👩‍👧\u0000\u001b\r\n <turn><pad>")
def test_the_tokenizer_gives_back_every_text(text: str) -> None:
    ids = tokenizer().encode(text)
    assert tokenizer().decode(ids) == text
    assert all(i >= len(RESERVED) for i in ids)
    assert tokenizer().encode_batch([text]) == [ids]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(ANY_TEXT.filter(lambda t: "\0" not in t).map(clean_text).filter(bool), min_size=2, max_size=8),
        max_size=5,
    ),
    st.integers(1, 4),
)
def test_dialogues_come_back_turn_by_turn(dialogues: list[list[str]], max_turns: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        with SplitWriter(Path(name), max_turns) as writer:
            for turns in dialogues:
                writer.add(tokenizer().encode_batch(turns), range(1, len(turns)))
        split = load(Path(name))

        def texts(ids: np.ndarray) -> list[str]:
            assert not len(ids) or ids[-1] == TURN
            parts = np.split(ids, np.flatnonzero(ids == TURN) + 1)[:-1]
            return [tokenizer().decode(part.tolist()) for part in parts]

        expected = [
            (number, turns[max(0, i - max_turns) : i], [turns[i]])
            for number, turns in enumerate(dialogues)
            for i in range(1, len(turns))
        ]
        found = [
            (split.dialogue_of(i), texts(split.context(i, 10**6)), texts(split.reply(i))) for i in range(len(split))
        ]
        assert found == expected
        assert texts(split.tokens) == [turn for turns in dialogues for turn in turns]


def test_the_arrays_of_two_dialogues(tmp_path: Path) -> None:
    with SplitWriter(tmp_path, max_turns=2) as writer:
        writer.add([[10], [11, 12], [13], [14]], [1, 3])
        writer.add([[20, 21], [22]], [1])
    split = load(tmp_path)
    assert split.tokens.tolist() == [10, 2, 11, 12, 2, 13, 2, 14, 2, 20, 21, 2, 22, 2]
    assert split.turns.tolist() == [0, 2, 5, 7, 9, 12, 14]
    assert split.dialogues.tolist() == [0, 4, 6]
    assert split.pairs.tolist() == [[0, 1], [1, 3], [4, 5]]
    assert {name: getattr(split, name).dtype.str for name in ARRAYS} == ARRAYS


@pytest.mark.parametrize("pieces", [[], [0], [1], [3, 0, 9, 1000, 100_000]])
def test_an_array_written_in_pieces_is_a_plain_npy_file(tmp_path: Path, pieces: list[int]) -> None:
    rows = np.arange(2 * sum(pieces), dtype=np.int64).reshape(-1, 2)
    writer = ArrayWriter(tmp_path / "a.npy", "<i8", columns=2)
    for piece in np.split(rows, np.cumsum(pieces)[:-1]) if pieces else []:
        writer.append(piece)
    writer.close()
    assert np.array_equal(np.load(tmp_path / "a.npy"), rows)
    assert np.load(tmp_path / "a.npy").shape == rows.shape
