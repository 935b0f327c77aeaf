"""A reply generator on a pretrained language model as a directory of Hugging Face transformers: the model's own class
and ids, adapters merged into its weights, and a chat template that puts turns together as it learnt them.
"""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

import tokenizers

from chatbot.borrowed_tokenizer import BORROWED_BY, give_back
from chatbot.bundle import CARD, Bundle
from chatbot.errors import ExportError, LanguageModelError
from chatbot.export.source import language_model_generator
from chatbot.generator.language_model import LanguageModelConfig, auto_class, import_library
from chatbot.generator.merging import merged
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.prompt import Layout
from chatbot.request import Decoding

_TEMPLATE: Final = (
    "{{ OPENING }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ BEFORE_USER + (message['content'] | trim) + AFTER_USER }}{% elif message['role'] == 'assistant' %}"
    "{{ BEFORE_MODEL + (message['content'] | trim) + AFTER_MODEL }}{% else %}"
    "{{ raise_exception('found the role ' + message['role'] + ', expected user or assistant') }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ CUE }}{% endif %}"
)
_SAID: Final = (["hello"], ["Hi, how are you?", "I'm fine. You?", "也很好！ Thanks :)"])
"""Dialogues whose prompts are compared: one turn, and turns of both sides."""
_AGREES: Final = "The template gives the very ids that the model learnt with."
_DIFFERS: Final = (
    "**Where turns meet, this tokenizer gives other ids than those that the model learnt with**: there, each turn was "
    "encoded by itself. Replies are close to what they were, and not the same."
)


def write_language_model(bundle: Bundle, directory: Path) -> None:
    """Write model, tokenizer, generation config and card into `directory`.

    Raises ExportError where an adapter cannot be merged.
    """
    generator = language_model_generator(bundle)
    config = generator.trunk.config
    tokenizer = _tokenizer(bundle, config)
    try:
        network = merged(generator)
    except LanguageModelError as error:
        raise ExportError(str(error)) from None
    network.generation_config = _generation(generator, bundle.decoding)
    network.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    usage = Template(
        files("chatbot.export").joinpath("language_model_usage.md").read_text(encoding="utf-8")
    ).substitute(
        auto=auto_class(import_library(), config.kind).__name__,
        begin='inputs["input_ids"].shape[1]' if config.kind == "causal" else "0",
        context=generator.context_tokens,
        prompts=_AGREES if _prompts_agree(bundle, config.layout, tokenizer) else _DIFFERS,
    )
    (directory / CARD).write_text(f"{bundle.card.rstrip()}\n\n{usage}".lstrip(), encoding="utf-8")


def _generation(generator: PretrainedGenerator, drawn: Decoding) -> Any:
    """Return how the directory writes by itself: as a bundle does."""
    config = generator.trunk.config
    end = config.layout.end
    written = (end, config.start) if config.begun else (end,)
    settings: dict[str, Any] = {}
    if config.kind == "encoder-decoder":
        settings["decoder_start_token_id"] = config.begun[0] if config.begun else config.start
        settings["forced_bos_token_id"] = config.start if config.begun else None
    return import_library().GenerationConfig(
        **settings,
        eos_token_id=end,
        pad_token_id=end,
        max_new_tokens=generator.reply_tokens + len(config.begun),  # what is forced is counted there
        min_new_tokens=drawn.min_tokens + len(config.begun),
        suppress_tokens=[i for i in config.never if i not in written] or None,
        do_sample=True,
        temperature=drawn.temperature,
        top_p=drawn.top_p,
        top_k=0,
    )


def _tokenizer(bundle: Bundle, config: LanguageModelConfig) -> Any:
    """Return the language model's tokenizer with its own ids, as a `transformers.PreTrainedTokenizerFast`."""
    own = tokenizers.Tokenizer.from_str(give_back(bundle.tokenizer))
    end = own.id_to_token(config.layout.end)
    return import_library().PreTrainedTokenizerFast(
        tokenizer_object=own,
        eos_token=end,
        pad_token=end,
        chat_template=_template(config.layout, own),
        truncation_side="left",
        padding_side="left" if config.kind == "causal" else "right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _template(layout: Layout, own: tokenizers.Tokenizer) -> str:
    def literal(part: re.Match[str]) -> str:
        text = own.decode(list(getattr(layout, part[0].lower())), skip_special_tokens=False)
        return json.dumps(text, ensure_ascii=False)

    # In one go: what stands around turns may hold such a word itself.
    return re.sub("OPENING|BEFORE_USER|AFTER_USER|BEFORE_MODEL|AFTER_MODEL|CUE", literal, _TEMPLATE)


def _prompts_agree(bundle: Bundle, layout: Layout, tokenizer: Any) -> bool:
    """Say whether the template and the tokenizer give the prompts that the generator knows."""

    def theirs(turns: Sequence[str]) -> list[int]:
        roles = ("user", "assistant")
        chat = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
        return list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])

    def ours(turns: Sequence[str]) -> list[int]:
        return layout.prompt([[i - BORROWED_BY for i in bundle.tokenizer.encode(turn)] for turn in turns])

    return all(theirs(turns) == ours(turns) for turns in _SAID)
