"""Where a pretrained language model comes from: a directory, a GGUF file or the name of one on the Hugging Face hub.

Everything that can be wrong with what is found there is said here. Weights are read from safetensors or GGUF, never
from a pickle, and no code of a model's own is ever run.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from chatbot.borrowed_tokenizer import borrow
from chatbot.errors import LanguageModelError, TokenizerError
from chatbot.generator.language_model import (
    Kind,
    LanguageModel,
    LanguageModelConfig,
    auto_class,
    import_library,
    json_ready,
    refuse_gaps,
    without_dropout_rates,
)
from chatbot.generator.prompt import Layout, Turns, layout_of
from chatbot.tokenizer import Tokenizer

_HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class _Place:
    """What `from_pretrained` is told: a directory or a hub's name, and a GGUF file in it."""

    name: str
    gguf: str | None

    @property
    def arguments(self) -> dict[str, Any]:
        shared: dict[str, Any] = {"trust_remote_code": False}
        return shared if self.gguf is None else {**shared, "gguf_file": self.gguf}


def fetch_tokenizer(source: str) -> Tokenizer:
    """Return the tokenizer of the language model at `source` as one of ours. Raises LanguageModelError."""
    place = _locate(source)
    return _borrowed(_native_tokenizer(place, source), source)


def fetch_language_model(source: str, *, bf16: bool, turns: Turns) -> tuple[LanguageModel, Tokenizer]:
    """Return the language model at `source`, on the CPU, and its tokenizer as one of ours.

    With `bf16` its weights are kept in 16 bits. Raises LanguageModelError, which says what was found and what helps.
    """
    place = _locate(source)
    library = import_library()
    with _said_in_one_sentence(source):
        config = library.AutoConfig.from_pretrained(place.name, **place.arguments)
    kind = _kind_of(library, config, source)
    native = _native_tokenizer(place, source)
    layout = layout_of(native, turns, causal=kind == "causal")
    for key, value in without_dropout_rates(config.to_dict()).items():
        if value == 0.0 and "drop" in key:
            setattr(config, key, value)
    arguments = dict(place.arguments)
    if place.gguf is not None:
        arguments["quantization_config"] = library.GgufConfig(dequantize=True)
    else:
        arguments |= {"config": config, "use_safetensors": True}
    model_class = auto_class(library, kind)._model_mapping[type(config)]
    with _said_in_one_sentence(source):
        network, found = model_class.from_pretrained(
            place.name,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            attn_implementation="sdpa" if model_class._supports_sdpa else "eager",
            output_loading_info=True,
            **arguments,
        )
    if place.gguf is None:
        refuse_gaps({k: v for k, v in found.items() if k != "unexpected_keys"}, source)
    described = LanguageModelConfig(
        kind=kind,
        library=json_ready(network.config),
        weights="bfloat16" if bf16 else "float32",
        tokens=len(native),
        never=tuple(sorted({*native.all_special_ids, *_special(native), layout.end})),
        **_beginning(network.config, layout, kind, source),
        layout=layout,
    )
    if network.get_input_embeddings().weight.shape[0] < described.tokens:
        raise LanguageModelError(
            f"{source}: the tokenizer has {described.tokens} ids, the model knows "
            f"{network.get_input_embeddings().weight.shape[0]}: they do not belong together"
        )
    return LanguageModel(described, network, None, ""), _borrowed(native, source)


def _locate(source: str) -> _Place:
    if not source:
        raise LanguageModelError("no language model is named: --set generator.path=DIRECTORY_OR_HUB_NAME")
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise LanguageModelError(f"{source}: found a file, expected a directory with a model, or a .gguf file")
        return _Place(str(path.parent), path.name)
    if path.is_dir():
        gguf = sorted(path.glob("*.gguf"))
        if (path / "config.json").is_file():
            if not any(path.glob("*.safetensors")):
                pickled = [file.name for pattern in _PICKLES for file in path.glob(pattern)]
                said = (
                    f"found {', '.join(pickled[:3])}; pickles can run code and are not read"
                    if pickled
                    else "found none"
                )
                raise LanguageModelError(f"{source}: expected weights in *.safetensors, {said}")
            return _Place(str(path), None)
        if len(gguf) == 1:
            return _Place(str(path), gguf[0].name)
        some = ", ".join(file.name for file in sorted(path.iterdir())[:5]) or "nothing"
        raise LanguageModelError(
            f"{source}: no language model; expected config.json with *.safetensors, or one .gguf file, found {some}"
        )
    if not _HUB_NAME.fullmatch(source) or source.startswith("."):
        raise LanguageModelError(f"{source}: no such directory or file, and not a name on the Hugging Face hub")
    return _Place(source, None)


@contextmanager
def _said_in_one_sentence(source: str) -> Iterator[None]:
    """Turn what the library raises into one error of ours."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LanguageModelError(
            f"{source} needs {error.name}, which is not here: pip install 'rejoinder[pretrained]'"
        ) from None
    except LanguageModelError:
        raise
    except Exception as error:  # it raises many kinds, and what they say is pages long
        first = " ".join(str(error).split())[:200]
        if Path(source).exists():
            raise LanguageModelError(f"{source}: not a language model that can be read ({first})") from None
        raise LanguageModelError(
            f"{source}: no such directory here, and it cannot be had from the Hugging Face hub ({first}); fetch the "
            "model where there is a network and name its directory"
        ) from None


def _kind_of(library: Any, config: Any, source: str) -> Kind:
    """Return which kind of language model a configuration describes. Raises LanguageModelError for neither."""
    from transformers.models.auto import modeling_auto

    causal = set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    both = set(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values())
    named = config.architectures or []
    kind: Kind = "encoder-decoder" if config.is_encoder_decoder else "causal"
    known = type(config) in auto_class(library, kind)._model_mapping
    if not known or (named and named[0] not in (both if kind == "encoder-decoder" else causal)):
        found = ", ".join(named) or config.model_type
        raise LanguageModelError(
            f"{source}: found {found}, expected a causal language model or an encoder-decoder that writes text"
        )
    return kind


def _native_tokenizer(place: _Place, source: str) -> Any:
    library = import_library()
    with _said_in_one_sentence(source):
        native = library.AutoTokenizer.from_pretrained(place.name, **place.arguments)
    if not native.is_fast:
        raise LanguageModelError(f"{source}: its tokenizer has no tokenizer.json, which alone can be taken over")
    return native


def _borrowed(native: Any, source: str) -> Tokenizer:
    try:
        return borrow(native.backend_tokenizer.to_str())
    except TokenizerError as error:
        raise LanguageModelError(f"{source}: {error}") from None


def _special(native: Any) -> list[int]:
    return [number for number, token in native.added_tokens_decoder.items() if token.special]


def _beginning(config: Any, layout: Layout, kind: Kind, source: str) -> dict[str, Any]:
    """Return `start` and `begun` of a LanguageModelConfig."""
    if kind == "causal":
        return {"start": layout.prompt([[]])[-1], "begun": ()}
    first = config.decoder_start_token_id
    if first is None:
        raise LanguageModelError(f"{source}: its configuration does not say what the decoder begins with")
    forced = getattr(config, "forced_bos_token_id", None)
    return {"start": int(first), "begun": ()} if forced is None else {"start": int(forced), "begun": (int(first),)}
