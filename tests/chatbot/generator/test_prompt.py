"""Prompts are what the chat template itself renders, and what does not fit is cut between opening and end."""

from typing import Any

import pytest

from chatbot.errors import LanguageModelError
from chatbot.generator.prompt import Turns, layout_of, plain_layout
from tests.chatbot.pretrained import TEMPLATE, hf_tokenizer

TALKS = (["hello"], ["do you like music?", "yes, very much", "how are you?"], ["a", "b", "c", "d", "e"])
GEMMA = (
    "<bos>{% for m in messages %}<start>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}"
)


def rendered(tokenizer: Any, turns: list[str]) -> list[int]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("turns", TALKS)
@pytest.mark.parametrize("template", [TEMPLATE, GEMMA])
def test_a_prompt_is_the_chat_templates_own(template: str, turns: list[str]) -> None:
    tokenizer = hf_tokenizer(template)
    layout = layout_of(tokenizer, "auto", causal=True)
    ids = layout.prompt([tokenizer.encode(turn, add_special_tokens=False) for turn in turns])
    assert tokenizer.decode(ids) == tokenizer.decode(rendered(tokenizer, turns))
    assert ids == rendered(tokenizer, turns) or template == GEMMA  # text around turns may be cut another way
    if template == TEMPLATE:
        assert layout.end == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_speaker_is_counted_from_the_end() -> None:
    tokenizer = hf_tokenizer()
    layout = layout_of(tokenizer, "chat", causal=True)
    text = tokenizer.decode(layout.prompt([[100], [101]]))
    assert text.index("assistant\n") < text.index("user\n") < text.rindex("assistant\n")


@pytest.mark.parametrize("turns", ["auto", "plain"])
def test_without_a_template_every_turn_is_ended_by_the_end_token(turns: Turns) -> None:
    tokenizer = hf_tokenizer(None)
    assert layout_of(tokenizer, turns, causal=True).prompt([[7, 8], [9]]) == [7, 8, 2, 9, 2]
    assert layout_of(hf_tokenizer(), "plain", causal=True).prompt([[7]]) == [7, 2]


def test_of_a_prompt_too_long_the_opening_and_the_end_are_kept() -> None:
    layout = plain_layout((0,), 1)
    assert layout.prompt([[5, 6, 7], [8, 9]]) == [0, 5, 6, 7, 1, 8, 9, 1]
    assert layout.prompt([[5, 6, 7], [8, 9]], most=5) == [0, 1, 8, 9, 1]


@pytest.mark.parametrize(
    ("template", "turns", "causal", "said"),
    [
        (None, "chat", True, "no chat template"),
        (TEMPLATE, "chat", False, "for causal language models"),
        ("{{ raise_exception('no') }}", "auto", True, "cannot be rendered .*; set generator.turns=plain"),
        ("{{ messages | length }}", "auto", True, "does not put turn behind turn; set generator.turns=plain"),
    ],
)
def test_what_is_no_layout_says_so(template: str | None, turns: Turns, causal: bool, said: str) -> None:
    with pytest.raises(LanguageModelError, match=said):
        layout_of(hf_tokenizer(template), turns, causal=causal)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    endless = hf_tokenizer()
    endless.eos_token = None
    with pytest.raises(LanguageModelError, match="tokenizer names no end token"):
        layout_of(endless, "plain", causal=True)
