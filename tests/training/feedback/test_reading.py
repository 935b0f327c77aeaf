"""Exports come in: what a row becomes, and that nothing unusable is passed over."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.errors import FeedbackError
from training.feedback.reading import read_feedback
from training.feedback.records import Preference, Thumb, is_kept_out


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def preference(prompt: str = "Hi", chosen: str = "Hello!", rejected: str = "No.", **more: Any) -> dict[str, Any]:
    """Return a row as the service exports it."""
    system = {"name": "m", "kind": "checkpoint", "weights_sha256": "0", "decoding": {}}
    return {
        "prompt": [said("user", prompt)],
        "chosen": [said("assistant", chosen)],
        "rejected": [said("assistant", rejected)],
        "chosen_system": system,
        "rejected_system": system,
        "study": None,
        "item": 1,
        "rater": "r1",
        "created": 1,
        **more,
    }


def thumb(prompt: str = "Hi", completion: str = "Hello!", label: Any = True, **more: Any) -> dict[str, Any]:
    return {
        "prompt": [said("user", prompt)],
        "completion": [said("assistant", completion)],
        "label": label,
        "reasons": ["rude"],
        "comment": "two\nlines",
        "system": {},
        "reply_id": "x",
        "rater": "r1",
        "created": 1,
        **more,
    }


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_preferences_and_thumbs_are_told_by_their_keys_in_one_file_or_several(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", preference(), "", thumb(label=False))
    two = write(tmp_path / "b.jsonl", thumb(completion="Fine."))
    feedback = read_feedback([one, two])
    assert feedback.preferences == (Preference(("Hi",), "Hello!", "No."),)
    assert feedback.thumbs == (Thumb(("Hi",), "Hello!", False), Thumb(("Hi",), "Fine.", True))
    assert [file.path for file in feedback.files] == [one, two]


def test_texts_are_cleaned_and_turns_joined_as_training_texts_are(tmp_path: Path) -> None:
    prompt = [
        said("system", "You are a cat."),
        said("user", "  cafe\u0301 \n here"),
        said("user", "?"),
        said("assistant", "Yes\u0007."),
        said("user", "Good"),
    ]
    row = preference(chosen="a\t b\ufeff", rejected="")
    feedback = read_feedback([write(tmp_path / "a.jsonl", {**row, "prompt": prompt})])
    assert feedback.preferences == (Preference(("café here ?", "Yes.", "Good"), "a b", ""),)


def test_equal_texts_prefer_nothing_and_are_counted(tmp_path: Path) -> None:
    feedback = read_feedback([write(tmp_path / "a.jsonl", preference(chosen="a  b", rejected="a b"), preference())])
    assert (len(feedback.preferences), feedback.undecidable) == (1, 1)


@pytest.mark.parametrize(
    ("row", "said_so"),
    [
        ("{", "broken JSON"),
        ("[]", "the line is a list, expected an object"),
        ({"winner": "a", "prompt": []}, "expected the keys prompt, chosen, rejected or prompt, completion, label"),
        ({}, "found no key"),
        (thumb(label=1), "label is a number, expected true or false"),
        (thumb(label=None), "label is null"),
        (preference(prompt=""), "the last message of prompt is missing"),
        ({**preference(), "prompt": [said("user", "a"), said("assistant", "b")]}, "is the assistant's"),
        ({**preference(), "prompt": "Hi"}, "prompt is text, expected a list"),
        ({**preference(), "chosen": []}, "chosen holds 0 messages"),
        ({**preference(), "rejected": [said("user", "x")]}, "rejected holds 1 messages, expected one by the assistant"),
        ({**preference(), "rejected": [said("judge", "x")]}, "unknown role"),
        ({**preference(), "chosen": [{"role": "assistant", "content": 3}]}, "chosen[0].content is a number"),
        ({**preference(), "chosen": [{"role": "assistant", "content": "\ud800"}]}, "lone surrogate"),
        ({**preference(), "chosen": [{"role": "assistant", "content": "a\0"}]}, "NUL"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, row: Any, said_so: str) -> None:
    path = write(tmp_path / "a.jsonl", preference(), row)
    with pytest.raises(FeedbackError) as error:
        read_feedback([path])
    assert said_so in str(error.value)
    assert f"{path}, line 2: " in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_missing_empty_or_named_twice_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", preference())
    with pytest.raises(FeedbackError, match="cannot be read"):
        read_feedback([tmp_path / "none.jsonl"])
    with pytest.raises(FeedbackError, match="cannot be read"):
        read_feedback([tmp_path])
    with pytest.raises(FeedbackError, match="no line in it"):
        read_feedback([write(tmp_path / "empty.jsonl", "", " ")])
    copy = write(tmp_path / "copy.jsonl", preference())
    with pytest.raises(FeedbackError, match="is the same feedback as"):
        read_feedback([path, copy])
    (tmp_path / "bytes.jsonl").write_bytes(b'{"prompt": "\xff"}\n')
    with pytest.raises(FeedbackError, match=r"bytes\.jsonl, line 1: not UTF-8"):
        read_feedback([tmp_path / "bytes.jsonl"])


def test_contexts_are_held_out_whole_and_for_good(tmp_path: Path) -> None:
    rows = [preference(f"question {i}", rejected=f"{j}") for i in range(400) for j in range(2)]
    rows += [thumb(f"question {i}") for i in range(400)]
    feedback = read_feedback([write(tmp_path / "a.jsonl", *rows)])
    kept, learnt = feedback.kept_out(0.2), feedback.learnt(0.2)
    held = {p.turns for p in kept}
    assert 55 < len(held) < 105  # 80 expected, standard deviation 8
    assert len(kept) == 2 * len(held)
    assert not held & ({p.turns for p in learnt.preferences} | {t.turns for t in learnt.thumbs})
    assert len(kept) + len(learnt.preferences) == 800
    assert held <= {p.turns for p in feedback.kept_out(0.5)}  # a larger share holds a smaller one
    assert not feedback.kept_out(0.0)
    assert all(is_kept_out(p.turns, 1.0) for p in feedback.preferences)
