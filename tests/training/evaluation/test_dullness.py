"""Stock replies in both languages, and the lists themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.dullness import Language, are_stock, is_stock, language_of, stock_replies, stock_share
from training.evaluation.pairs import normalise_text

LANGUAGES: tuple[Language, ...] = ("en", "zh")


@pytest.mark.parametrize(
    "reply",
    [
        "I don't know.", "i DON’T know", "I don't know what you are talking about.", "I do not know, really",
        "Okay!", "ok", "Yes.", "Me too...", "You're welcome :)",
        "我不知道", "我不知道你在说什么。", "嗯。", "好的！", "不客气～", "ok。",
    ],
)  # fmt: skip
def test_stock_replies(reply: str) -> None:
    assert is_stock(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Yes, my sister plays the violin.", "I don't knowingly lie.", "I know a good one near the station.", "",
        "...", "我知道一家不错的餐馆", "好的，我明天早上去接你。", "It is sunny", "不对劲的是他没来",
    ],
)  # fmt: skip
def test_other_replies(reply: str) -> None:
    assert not is_stock(reply)


def test_share() -> None:
    replies = ["Yes.", "The train leaves at nine.", "不知道", "我喜欢跑步"]
    assert are_stock(replies).tolist() == [True, False, True, False]
    assert stock_share(replies) == 0.5
    with pytest.raises(ValueError, match="no replies"):
        stock_share([])


def test_language_is_that_of_most_letters() -> None:
    assert language_of("我喜欢NBA") == "zh"
    assert language_of("The word 你好 means hello") == "en"
    assert language_of("12 !") == "en"


@pytest.mark.parametrize("language", LANGUAGES)
def test_lists_hold_no_reply_twice_and_each_in_its_language(language: Language) -> None:
    stock = stock_replies(language)
    assert 30 <= len(stock.texts) == len(stock.whole)
    assert all(language_of(text) == language for text in stock.texts)
    assert stock.openings
    for text in stock.texts:
        assert is_stock(text)
        assert normalise_text(text)


@given(
    st.sampled_from([text for language in LANGUAGES for text in stock_replies(language).texts]),
    st.text("!?.,。！ ", max_size=4),
)
def test_punctuation_and_case_change_nothing(text: str, marks: str) -> None:
    assert is_stock(f"{marks}{text.upper()}{marks}")
