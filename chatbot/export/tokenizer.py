"""Our tokenizer as one that transformers loads: it cleans turns, joins a chat's messages, and gives our ids.

In ours, reserved tokens are looked up by id only. There they are special tokens of the text, for that is how
transformers joins turns: who passes on what strangers type takes `<turn>` out of it.
"""

from importlib import import_module
from typing import Any, Final

import tokenizers
from tokenizers import Regex, normalizers

from chatbot.bundle import Bundle
from chatbot.tokenizer import RESERVED

_CONTROLS: Final = r"[\x{0}-\x{8}\x{e}-\x{1b}\x{7f}-\x{84}\x{86}-\x{9f}\x{feff}]"
_SPACES: Final = r"[\s\x{1c}-\x{1f}]+"
"""As `chatbot.cleaning.clean_turn` sees them, in the tokenizer's own language."""
CHAT_TEMPLATE: Final = "{% for message in messages %}{{ message['content'] }}" + RESERVED[2] + "{% endfor %}"


def shared_tokenizer(bundle: Bundle) -> tokenizers.Tokenizer:
    """Return the bundle's tokenizer, which cleans turns as the bot cleans them."""
    bpe = tokenizers.Tokenizer.from_str(bundle.tokenizer.to_json())
    bpe.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_CONTROLS), ""),
            normalizers.NFC(),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.Strip(),
        ]
    )
    return bpe


def fast_tokenizer(bundle: Bundle) -> Any:
    """Return it as a `transformers.PreTrainedTokenizerFast`. Raises ModuleNotFoundError."""
    transformers: Any = import_module("transformers")  # partly typed
    pad, start, turn = RESERVED
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=shared_tokenizer(bundle),
        pad_token=pad,
        bos_token=start,
        eos_token=turn,
        chat_template=CHAT_TEMPLATE,
        model_max_length=bundle.limits.context_tokens,
        truncation_side="left",
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
