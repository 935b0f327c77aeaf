"""What is plainly wrong with a reply, in English and in Chinese; and what only looks so."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import RejoinderError
from chatbot.guards import LANGUAGES, Blocklist, fault_of, language_of, loops, redraw_seed

LISTED = Blocklist(["darn", "two words", "坏话", "/h[ae]ll+o there/", "# a comment", ""])


@pytest.mark.parametrize(
    "text",
    [
        "oh darn!",
        "DARN",
        "ｄａｒｎ it",  # full width
        "these are two words",
        "他说坏话了",  # Chinese has no spaces
        "well, HELLLO there",
    ],
)
def test_a_blocked_word_is_found(text: str) -> None:
    assert fault_of(text, LISTED) == "blocked"


@pytest.mark.parametrize("text", ["darning socks", "undarned", "two other words", "坏的话", "hello", "a comment"])
def test_what_only_contains_its_letters_passes(text: str) -> None:
    assert fault_of(text, LISTED) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_list_that_is_found_again(language: str) -> None:
    path = Path(__file__).parents[2] / "chatbot" / "blocked_words" / f"{language}.txt"
    words = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith(("#", "/"))]
    assert len(words) > 3
    standard = Blocklist.standard()
    assert all(standard.finds(f"so {word}." if language == "en" else f"你{word}啊") for word in words)


def test_a_file_of_ones_own_adds_to_the_lists(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("rival product\n", encoding="utf-8")
    blocklist = Blocklist.standard(tmp_path / "own.txt")
    assert blocklist.finds("try the Rival Product")
    assert blocklist.finds("婊子")
    (tmp_path / "own.txt").write_text("fine\n/(/\n", encoding="utf-8")
    with pytest.raises(RejoinderError, match=r"own.txt, line 2: /\(/ is no regular expression"):
        Blocklist.standard(tmp_path / "own.txt")
    (tmp_path / "own.txt").write_text("/x*/\n", encoding="utf-8")
    with pytest.raises(RejoinderError, match=r"line 1: /x\*/ matches where there is nothing"):
        Blocklist.standard(tmp_path / "own.txt")
    with pytest.raises(RejoinderError, match=r"nothing.txt: cannot be read as a blocklist"):
        Blocklist.standard(tmp_path / "nothing.txt")


@pytest.mark.parametrize(
    "text",
    [
        "I don't know I don't know I don't know I don't know",
        "no no no no no no",
        "Well, I am not sure, I am not sure, I am not sure, I am not sure what to say.",
        "我不知道，我不知道，我不知道，我不知道。",
        "好的好的好的好的",
        "哈" * 12,
    ],
)
def test_a_loop_is_found(text: str) -> None:
    assert fault_of(text, LISTED) == "repetition"


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no! Never, never.",
        "ha ha ha ha",
        "hahahahahahahaha",
        "哈哈哈哈哈哈",
        "谢谢谢谢",
        "I like tea, I like milk, I like beer, I like water.",
        "我喜欢茶，我喜欢奶，我喜欢水，我喜欢酒",
        "!!!!!!!!!!!!!!!!",
        "1, 2, 3, 4, 5, 6",
    ],
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert fault_of(text, LISTED) is None


@given(st.lists(st.sampled_from(["tea", "茶", "milk"]), max_size=8, unique=True))
def test_different_words_are_never_a_loop_and_a_phrase_four_times_always_is(words: list[str]) -> None:
    assert not loops(" ".join(words))
    if len(words) > 1:
        assert loops(" ".join(words * 4))
        assert not loops(" ".join(words * 3))


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_reply_is_a_fault(text: str) -> None:
    assert fault_of(text, LISTED) == "empty"


def test_a_word_that_may_go_on_is_not_blocked_yet() -> None:
    assert LISTED.finds("oh darn")
    assert not LISTED.finds("oh darn", whole=False)
    assert LISTED.finds("oh darn,", whole=False)
    assert not LISTED.finds("oh darning", whole=False)


def test_seeds_of_new_draws_are_their_own_and_always_the_same() -> None:
    seeds = [redraw_seed(seed, attempt) for seed in (0, 1, 2**53) for attempt in (1, 2, 3)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**53 for seed in seeds)
    assert redraw_seed(7, 1) == redraw_seed(7, 1)


def test_a_refusal_is_in_the_language_of_the_question() -> None:
    assert language_of("How are you?") == "en"
    assert language_of("你好 Tom") == "zh"
