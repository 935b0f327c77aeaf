"""What may happen to the bytes of a file: bits that flip, ends that are missing, parts that stand twice or elsewhere.

Knows bytes, not what they mean.
"""

from hypothesis import strategies as st

# What breaks readers: deep nesting, endless numbers, half characters, other encodings' marks, ends of lines and texts.
TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\r", b"\x00", b"\t", b"'", b"="),
    *(b"null", b"true", b"-1", b"0", b"1e999", b"-0.0", b"NaN", b"Infinity", b"1" * 5000, b"2147483648", b"1e308"),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xe2\x80\xa8"),
    *(b"[" * 3000, b'{"a":' * 3000, b"(" * 300, b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7),
)

places = st.integers(0, 2**31)
"""Taken modulo the length: any place of any file."""
lengths = st.integers(1, 64) | st.integers(1, 4096)

edits = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("set"), places, st.integers(0, 255)),
    st.tuples(st.just("cut"), places, lengths),
    st.tuples(st.just("end"), places, st.just(0)),
    st.tuples(st.just("insert"), places, st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("replace"), places, st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("copy"), places, st.tuples(places, lengths)),
    st.tuples(st.just("splice"), places, places),
)


def edited(content: bytes, edit: tuple[str, int, object], other: bytes) -> bytes:
    """Return `content` after one edit; a splice goes on with the rest of `other`."""
    if not content:
        return other[:1]
    kind, place, what = edit[0], edit[1] % len(content), edit[2]
    head, tail = content[:place], content[place:]
    match kind, what:
        case "flip", int(bit):
            return head + bytes([tail[0] ^ (1 << bit)]) + tail[1:]
        case "set", int(value):
            return head + bytes([value]) + tail[1:]
        case "cut", int(length):
            return head + tail[length:]
        case "end", _:
            return head
        case "insert", bytes(token):
            return head + token + tail
        case "replace", bytes(token):
            return head + token + tail[len(token) :]
        case "copy", (int(start), int(length)):
            start %= len(content)
            return head + content[start : start + length] + tail
        case "splice", int(start):
            return head + other[start % max(1, len(other)) :]
    raise AssertionError(edit)


def mutants(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Give one of `seeds` after one to six edits."""

    def apply(drawn: tuple[bytes, bytes, list[tuple[str, int, object]]]) -> bytes:
        content, other, changes = drawn
        for change in changes:
            content = edited(content, change, other)
        return content

    chosen = st.sampled_from(seeds)
    return st.tuples(chosen, chosen, st.lists(edits, min_size=1, max_size=6)).map(apply)


def sweep(content: bytes, regions: int) -> list[bytes]:
    """Return `content` with a bit flipped, and cut off, in each of `regions` equal regions, first and last byte too."""
    regions = min(regions, len(content))
    found = []
    for place in sorted({0, len(content) - 1, *(i * len(content) // regions for i in range(regions))}):
        found += [edited(content, ("flip", place, place % 8), b""), content[:place]]
    return found
