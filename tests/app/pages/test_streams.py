"""What a page makes of a stream: the script that reads it, run by Node, on streams cut and garbled in every way."""

import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "app" / "pages" / "static" / "streaming.js"
DONE = b"data: [DONE]\n\n"
THOROUGH = settings(max_examples=250, deadline=None)

Read = Callable[[Sequence[bytes], bool], dict[str, Any]]

words = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=8)
values = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | words
events = st.dictionaries(words.filter(lambda name: name not in ("error", "__proto__")), values | st.lists(values))
comments = st.just(b": still here\n\n")
garbled = st.sampled_from(
    [b"data: ", b"data: {", b"data:", b"\n\n", b"\n", b"\r\n\r\n", DONE, b'data: {"a": "\xe4\xb8', b"data: null\n\n",
     b'data: {"error": {"message": "full"}}\n\n', b'data: {"error": 1}\n\n', b'data: {"a": 1}\n\n', b"event: x\n",
     b"\xff"]
) | st.binary(max_size=6)  # fmt: skip


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    command = [node, str(HERE / "read_streams.mjs"), str(SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def ask(chunks: Sequence[bytes], cut: bool = False) -> dict[str, Any]:
            coded = [base64.b64encode(chunk).decode() for chunk in chunks]
            to.write(json.dumps({"chunks": coded, "cut": cut}) + "\n")
            to.flush()
            answer: dict[str, Any] = json.loads(back.readline())
            return answer

        yield ask
        process.stdin.close()


def frame(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def pieces(content: bytes, places: Sequence[int]) -> list[bytes]:
    """Return `content` cut at some places, in the middle of a character too."""
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[start:end] for start, end in itertools.pairwise(edges)]


places = st.lists(st.integers(0, 10_000), max_size=12)


@THOROUGH
@given(sent=st.lists(events, max_size=5), quiet=st.lists(comments, max_size=2), places=places)
def test_a_whole_stream_is_read_however_it_is_cut(
    read: Read, sent: list[dict[str, Any]], quiet: list[bytes], places: list[int]
) -> None:
    content = b"".join([*quiet, *map(frame, sent), *quiet, DONE])
    assert read(pieces(content, places)) == {"events": sent, "end": "done"}


@THOROUGH
@given(sent=st.lists(events, min_size=1, max_size=4), places=places, lost=st.integers(1, 10_000), cut=st.booleans())
def test_a_broken_stream_keeps_what_had_come(
    read: Read, sent: list[dict[str, Any]], places: list[int], lost: int, cut: bool
) -> None:
    whole = [*map(frame, sent), DONE]
    content = b"".join(whole)
    left = len(content) - 1 - lost % len(content)
    found = read(pieces(content[:left], places), cut)
    assert found["end"] == "cut"
    ends = [sum(map(len, whole[: number + 1])) for number in range(len(sent))]
    assert found["events"] == sent[: sum(end <= left for end in ends)]


@THOROUGH
@given(parts=st.lists(garbled, max_size=10), places=places, cut=st.booleans())
def test_whatever_comes_ends_in_one_of_three_ways(read: Read, parts: list[bytes], places: list[int], cut: bool) -> None:
    content = b"".join(parts)
    found = read(pieces(content, places), cut)
    assert found["end"] in ("done", "cut", "refused")
    assert found == read([content], cut)
