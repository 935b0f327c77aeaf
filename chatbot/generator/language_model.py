"""A pretrained language model as we got it: described by plain values, kept in one safetensors file, frozen.

Knows the transformers library (an extra, imported only when needed), no dialogues and no training.
"""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, cast

import torch
from torch import nn

from chatbot.errors import LanguageModelError
from chatbot.generator.prompt import Layout

Kind = Literal["causal", "encoder-decoder"]

_FORMATS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ELSEWHERE: Final = {
    "_name_or_path", "_model_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id",
    "quantization_config", "transformers_version",
}  # fmt: skip
"""What a library's configuration says of files, labels and versions, and a bundle says itself or has no use for."""


@dataclass(frozen=True)
class LanguageModelConfig:
    """Say what a language model is, in values that JSON holds."""

    kind: Kind
    library: Mapping[str, Any]
    """The transformers library's own configuration."""
    weights: str
    """float32 or bfloat16."""
    tokens: int
    """Ids of its tokenizer."""
    never: tuple[int, ...]
    """Its special tokens: no reply holds them, but for the end token."""
    start: int
    """The id behind which a reply begins: the last one of a prompt, or the one a decoder begins with."""
    begun: tuple[int, ...]
    """What the decoder of an encoder-decoder has read before `start`."""
    layout: Layout

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "LanguageModelConfig":
        """Read what `to_tree` wrote. Raises LanguageModelError naming what is missing or not expected."""
        try:
            values = dict(tree)
            around = {key: _ids(found) for key, found in values.pop("layout").items()}
            layout = Layout(**around)
            config = cls(
                layout=layout, **{key: _ids(found) if _is_list(found) else found for key, found in values.items()}
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LanguageModelError(f"not the description of a language model ({error})") from None
        names = {"kind": ("causal", "encoder-decoder"), "weights": tuple(_FORMATS)}
        for key, known in names.items():
            if getattr(config, key) not in known:
                raise LanguageModelError(f"{key} is {getattr(config, key)!r}, expected one of {', '.join(known)}")
        for field in fields(cls):
            value = getattr(config, field.name)
            if field.name in ("tokens", "start") and type(value) is not int:
                raise LanguageModelError(f"{field.name} is {value!r:.80}, expected a whole number")
        if not isinstance(config.library, Mapping) or not isinstance(config.library.get("model_type"), str):
            raise LanguageModelError("its configuration names no model_type")
        return config

    def to_tree(self) -> dict[str, Any]:
        """Return nested plain values."""
        return asdict(self)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _ids(value: Any) -> Any:
    """Return an id, or ids as a tuple. Raises ValueError or TypeError for anything else."""
    return tuple(int(number) for number in value) if _is_list(value) else int(value)


class LanguageModel:
    """Hold the frozen network, what it is, and the file that has its weights, if there is one."""

    def __init__(self, config: LanguageModelConfig, network: nn.Module, file: Path | None, digest: str) -> None:
        """`digest` is the SHA-256 of the file that `save` writes; empty where it is not known yet."""
        self.config = config
        self.network: Any = network.eval().requires_grad_(False)
        self.file = file
        self.digest = digest

    def twin(self, *, sharing: bool) -> Any:
        """Return another network of the same weights: the same tensors when `sharing`, else a copy that can learn."""
        if not sharing:
            return copy.deepcopy(self.network).requires_grad_(True)
        tensors = (*self.network.parameters(), *self.network.buffers())
        return copy.deepcopy(self.network, {id(tensor): tensor for tensor in tensors})

    def save(self, path: Path) -> str:
        """Write the weights at `path`, as another name of the file that has them where possible; return their SHA-256.

        A run keeps the model in several bundles, and they never change.
        """
        from safetensors.torch import save_file

        if self.file is not None and self.digest and self.file.is_file():
            try:
                os.link(self.file, path)
            except OSError:  # another file system, or one without links
                shutil.copyfile(self.file, path)
            return self.digest
        save_file({key: value.contiguous() for key, value in _tensors(self.network).items()}, path)
        with path.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        return self.digest

    @classmethod
    def load(cls, config: LanguageModelConfig, path: Path, device: torch.device | str, digest: str) -> "LanguageModel":
        """Read the weights at `path`, written by `save`. Raises LanguageModelError as `build` does."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise LanguageModelError(f"{path}: cannot be read as safetensors ({error})") from None
        made = cls.build(config, weights, str(path), device)
        made.file, made.digest = path, digest
        return made

    @classmethod
    def build(
        cls, config: LanguageModelConfig, weights: dict[str, torch.Tensor], where: str, device: torch.device | str
    ) -> "LanguageModel":
        """Fill the network that `config` describes with `weights`; nothing is fetched from anywhere.

        Raises LanguageModelError, which begins with `where`, when the library is missing, does not know the model, or
        the weights do not fit.
        """
        library = import_library()
        values = without_dropout_rates(dict(config.library))
        model_type = values.pop("model_type")
        try:
            described = library.AutoConfig.for_model(model_type, **values)
        except (ValueError, KeyError, TypeError) as error:
            first = " ".join(str(error).split())[:120]
            raise LanguageModelError(f"{where}: {model_type!r} is no model that transformers knows ({first})") from None
        auto = auto_class(library, config.kind)
        try:
            kind = auto._model_mapping[type(described)]
            network, found = kind.from_pretrained(
                None,
                config=described,
                state_dict=weights,
                dtype=_FORMATS[config.weights],
                attn_implementation="sdpa" if kind._supports_sdpa else "eager",
                output_loading_info=True,
            )
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            first = " ".join(str(error).split())[:120]
            raise LanguageModelError(f"{where}: weights do not fit the language model ({first})") from None
        refuse_gaps(found, where)
        return cls(config, network.to(device), None, "")


def import_library() -> Any:
    """Return transformers, quiet. Raises LanguageModelError where it is not installed."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise LanguageModelError(
            f"a pretrained language model needs {error.name}, which is not here: pip install 'rejoinder[pretrained]'"
        ) from None
    transformers.utils.logging.set_verbosity_error()  # what matters is said by our own errors
    transformers.utils.logging.disable_progress_bar()
    return transformers


def auto_class(library: Any, kind: Kind) -> Any:
    """Return the library's class of all models of a kind."""
    return library.AutoModelForCausalLM if kind == "causal" else library.AutoModelForSeq2SeqLM


def refuse_gaps(found: Mapping[str, Any], where: str) -> None:
    """Raise LanguageModelError when loading left weights missing, unread or of another shape."""
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if found.get(problem):
            some = ", ".join(map(str, sorted(found[problem], key=str)[:3]))
            raise LanguageModelError(
                f"{where}: weights do not fit the language model; {problem.replace('_', ' ')}: {some}"
            )


def without_dropout_rates(values: dict[str, Any]) -> dict[str, Any]:
    """Return a library's configuration with every dropout rate at zero.

    A reply is drawn without dropout and learnt from as it was drawn; some models have dropout that no switch of a
    module turns off alone. LoRA needs none at the few steps of fine-tuning.
    """
    return {k: 0.0 if "drop" in k and isinstance(v, float) else v for k, v in values.items()}


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the network's tensors without the second names of tied ones."""
    own = {name for name, _ in network.named_parameters()} | {name for name, _ in network.named_buffers()}
    return {key: value.detach().cpu() for key, value in network.state_dict().items() if key in own}


def json_ready(config: Any) -> dict[str, Any]:
    """Return a library's configuration as plain values, without the place that it came from."""
    values = cast(dict[str, Any], json.loads(config.to_json_string(use_diff=False)))
    return {key: value for key, value in values.items() if key not in _ELSEWHERE and value is not None}
