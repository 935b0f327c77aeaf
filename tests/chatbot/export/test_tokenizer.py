"""The exported tokenizer cleans turns as the bot does."""

from hypothesis import given
from hypothesis import strategies as st

from chatbot.bundle import Bundle
from chatbot.cleaning import clean_turn
from chatbot.export.tokenizer import shared_tokenizer

ODD = "\x00\x07\t\n\x1c\x1f\x7f\x85\x9f\xa0\u2028\u3000\ufeff e\u0301é你😀<>turn"


@given(st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=("Cs",))), max_size=20))
def test_any_text_gives_the_ids_of_its_cleaned_form(transformer: Bundle, text: str) -> None:
    tokenizer = shared_tokenizer(transformer)
    tokenizer.encode_special_tokens = True
    assert tokenizer.encode(text).ids == transformer.tokenizer.encode(clean_turn(text))
