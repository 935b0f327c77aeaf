"""How the turns of a dialogue become a language model's prompt. Knows token ids and a chat template's parts, no model.

Ids are the language model's own. Which side says a turn is counted from the end: the last turn is the user's, whom the
model answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatbot.errors import LanguageModelError

Turns = Literal["auto", "chat", "plain"]

_SAID: tuple[str, str, str] = ("\ue0f1", "\ue0f2", "\ue0f3")
"""Private-use characters that stand for what is said while a template is taken apart."""


@dataclass(frozen=True)
class Layout:
    """Say what stands around the turns of a prompt; stored in the bundle."""

    opening: tuple[int, ...]
    """Before everything: the mark of a beginning, a template's own system message."""
    before_user: tuple[int, ...]
    after_user: tuple[int, ...]
    before_model: tuple[int, ...]
    after_model: tuple[int, ...]
    cue: tuple[int, ...]
    """Behind the last turn, before the reply."""
    end: int
    """Ends a reply."""

    @property
    def longest_frame(self) -> int:
        """Return how many ids stand around one turn at most."""
        user, model = len(self.before_user + self.after_user), len(self.before_model + self.after_model)
        return max(user, model)

    @property
    def seamless(self) -> bool:
        """Return whether a reply and its end stand in a longer prompt as they were written."""
        framed = (*self.before_user, *self.before_model, *self.cue)
        return not framed and self.after_user == self.after_model == (self.end,)

    def prompt(self, turns: Sequence[Sequence[int]], most: int | None = None) -> list[int]:
        """Return the ids of the prompt for `turns`; of one longer than `most` the opening and the end are kept."""
        ids: list[int] = []
        for back, turn in enumerate(reversed(turns)):
            framed = (
                [*self.before_model, *turn, *self.after_model]
                if back % 2
                else [*self.before_user, *turn, *self.after_user]
            )
            ids = framed + ids
        ids += self.cue
        if most is not None and len(self.opening) + len(ids) > most:
            ids = ids[-max(1, most - len(self.opening)) :]
        return [*self.opening, *ids]


def plain_layout(opening: Sequence[int], end: int) -> Layout:
    """Return the layout in which every turn is ended by the end token, as in DialoGPT (Zhang et al. 2020)."""
    return Layout(tuple(opening), (), (end,), (), (end,), (), end)


def layout_of(tokenizer: Any, turns: Turns, *, causal: bool) -> Layout:
    """Return the layout of a Hugging Face tokenizer: its chat template's if it has one and `turns` does not say plain.

    Raises LanguageModelError where `turns` says chat and there is no template, or it is not made of turns.
    """
    if tokenizer.eos_token_id is None:
        raise LanguageModelError("the language model's tokenizer names no end token")
    if turns == "plain" or not causal or (turns == "auto" and not tokenizer.chat_template):
        if turns == "chat":
            raise LanguageModelError("generator.turns=chat is for causal language models, this is an encoder-decoder")
        return plain_layout(_opening(tokenizer), int(tokenizer.eos_token_id))
    if not tokenizer.chat_template:
        raise LanguageModelError("generator.turns=chat, but the language model has no chat template; set plain")
    return _chat_layout(tokenizer)


def _opening(tokenizer: Any) -> list[int]:
    """Return what the tokenizer puts before a text by itself."""
    own, framed = tokenizer.encode("a", add_special_tokens=False), tokenizer.encode("a")
    return list(framed[: framed.index(own[0])]) if own and own[0] in framed else []


def _chat_layout(tokenizer: Any) -> Layout:
    """Take the chat template apart by rendering it, and check that the parts put together give what it renders."""

    def render(count: int, *, cue: bool) -> str:
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": said} for i, said in enumerate(_SAID[:count])]
        try:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=cue))
        except Exception as error:  # a template is a program of its own and may raise anything
            raise LanguageModelError(
                f"the chat template cannot be rendered ({error}); set generator.turns=plain"
            ) from None

    one, two, three = _SAID
    whole = render(3, cue=False)
    asked = render(3, cue=True)
    answered = render(2, cue=False)
    after_user = whole.partition(three)[2]
    cue = asked.partition(three)[2].removeprefix(after_user)
    before_model = whole.partition(one)[2].partition(two)[0].removeprefix(after_user)
    after_model = answered.partition(two)[2]
    before_user = whole.partition(two)[2].partition(three)[0].removeprefix(after_model)
    opening = whole.partition(one)[0].removesuffix(before_user)
    first, second, third = (f"{before_user}{one}{after_user}", f"{before_model}{two}{after_model}", before_user + three)
    cued = bool(cue) or not before_model  # where a model's turns begin with something, a reply must begin behind it
    if f"{opening}{first}{second}{third}{after_user}{cue}" != asked or not cued:
        raise LanguageModelError("the chat template does not put turn behind turn; set generator.turns=plain")

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False)) if text else ()

    special = set(tokenizer.all_special_ids)
    end = next((i for i in ids(after_model) if i in special), tokenizer.eos_token_id)
    return Layout(
        ids(opening), ids(before_user), ids(after_user), ids(before_model), ids(after_model), ids(cue), int(end)
    )
