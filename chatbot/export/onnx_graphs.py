"""A generator as two ONNX graphs: one reads contexts, one takes a step. Works for whatever names its state's parts.

B lanes, S context tokens, V vocabulary.
"""

import json
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from chatbot.bundle import CARD, Bundle
from chatbot.export.source import own_generator
from chatbot.export.tokenizer import shared_tokenizer
from chatbot.generator.interface import Part, State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import PAD, START, TURN

ENCODER: Final = "encoder.onnx"
STEP: Final = "step.onnx"
_OPSET: Final = 17


class _Encoding(nn.Module):
    """Turn contexts [B, S] into the parts of a state, those that count the reply's tokens included."""

    def __init__(self, generator: Seq2SeqGenerator, parts: list[Part]) -> None:
        super().__init__()
        self.generator = generator
        self.later = [part for part in parts if part.reply is not None]

    def forward(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return every part; a reply that has not begun is zeros."""
        tensors = [part.tensor for part in self.generator.encode(context).parts()]
        empty = [torch.zeros(context.shape[0], *part.tensor.shape[1:]) for part in self.later]
        return (*tensors, *empty)


class _Stepping(nn.Module):
    """Take one token [B] more and the parts of a state to logits [B, V] and the parts that have changed."""

    def __init__(self, generator: Seq2SeqGenerator, state: State, changed: list[int]) -> None:
        super().__init__()
        self.generator = generator
        self.state = state
        self.changed = changed

    def forward(self, tokens: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """Return logits and changed parts; those given are left as they are."""
        logits, state = self.generator.step(self.state.with_parts([part.clone() for part in parts]), tokens)
        after = state.parts()
        return (logits, *(after[index].tensor for index in self.changed))


def write_onnx(bundle: Bundle, directory: Path) -> None:
    """Write both graphs, the tokenizer, what the graphs' ends mean, and a card. Raises ModuleNotFoundError."""
    import onnx

    generator = own_generator(bundle)
    context = torch.full((2, 5), TURN)
    context[0, 3:] = PAD
    tokens = torch.full((2,), START)
    with torch.no_grad():
        _, state = generator.step(generator.encode(context), tokens)
        parts = state.parts()
        names = [f"state_{index}" for index in range(len(parts))]
        # A context is read once and for all: what counts its tokens stays as it is.
        changed = [index for index, part in enumerate(parts) if part.context is None]
        axes = {"context": {0: "lanes", 1: "context_tokens"}, "tokens": {0: "lanes"}, "logits": {0: "lanes"}}
        for name, part in zip(names, parts, strict=True):
            axes[name] = {0: "lanes"} | ({part.context: "context_tokens"} if part.context is not None else {})
        after = [f"next_{names[index]}" for index in changed]
        axes |= {name: {0: "lanes"} for name in after}
        _write(directory / ENCODER, _Encoding(generator, parts), (context,), ["context"], names, axes)
        stepping = _Stepping(generator, state, changed)
        before = (tokens, *(part.tensor for part in parts))
        _write(directory / STEP, stepping, before, ["tokens", *names], ["logits", *after], axes)
    for name in (ENCODER, STEP):
        onnx.checker.check_model(str(directory / name), full_check=True)
    shared_tokenizer(bundle).save(str(directory / "tokenizer.json"))
    description = {
        "context_tokens": bundle.limits.context_tokens,
        "reply_tokens": bundle.limits.reply_tokens,
        "vocabulary_size": bundle.tokenizer.vocabulary_size,
        "pad": PAD,
        "start": START,
        "turn": TURN,
    }
    (directory / "config.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    usage = files("chatbot.export").joinpath("onnx_usage.md").read_text(encoding="utf-8")
    (directory / CARD).write_text(f"{bundle.card.rstrip()}\n\n{usage}".lstrip(), encoding="utf-8")


def _write(
    path: Path, model: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], axes: dict[str, Any]
) -> None:
    """Trace `model` to a graph. The exporter by tracing is the one that keeps a GRU one operator of any length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age, and of asserts that tracing makes constant
        torch.onnx.export(
            model.eval(),
            inputs,
            str(path),
            input_names=names,
            output_names=outputs,
            dynamic_axes={name: axes[name] for name in (*names, *outputs)},
            opset_version=_OPSET,
            dynamo=False,
        )
