"""The pretrained generator: a language model that learns to reply, itself or by low-rank adapters (Hu et al. 2022).

With adapters the language model's own weights stay as they were and are shared: by generator, frozen reference and
discriminator. `state_dict` is what is learnt and nothing else. B lanes, T reply tokens, D width, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chatbot.errors import LanguageModelError
from chatbot.generator.interface import Generator, State
from chatbot.generator.language_model import LanguageModel
from chatbot.generator.pretrained_trunk import PretrainedTrunk, build_trunk
from chatbot.tokenizer import START

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Adapters:
    """Say which low-rank adapters learn; stored in the bundle."""

    rank: int = 8
    alpha: int = 16
    """What the adapters add is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of the layers that get one, for instance q_proj; none named: every linear layer but the last."""


class PretrainedGenerator(Generator):
    """Model P(reply | context) with a pretrained language model."""

    def __init__(
        self, language_model: LanguageModel, adapters: Adapters | None, context_tokens: int, reply_tokens: int
    ) -> None:
        """Without `adapters` all weights learn, and they are a copy of the language model's.

        Raises LanguageModelError where an adapter finds no layer, or the lengths do not fit.
        """
        super().__init__()
        self.language_model = language_model  # no module: its weights are no state of this one
        self.adapters = adapters
        network = language_model.twin(sharing=adapters is not None)
        if adapters is not None:
            add_adapters(network, adapters)
        self.trunk: PretrainedTrunk = build_trunk(language_model.config, network, context_tokens, reply_tokens)
        self.vocabulary_size = self.trunk.vocabulary_size
        self.reply_tokens = reply_tokens
        self.context_tokens = context_tokens
        self.width = self.trunk.width
        keep_what_learns(self)

    def twin(self) -> "PretrainedGenerator":
        """Return a generator of the same weights, which learns apart from this one; frozen ones are shared."""
        twin = PretrainedGenerator(self.language_model, self.adapters, self.context_tokens, self.reply_tokens)
        twin.load_state_dict(self.state_dict())
        return twin.to(next(self.parameters()).device)

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies."""
        return self.trunk.encode(context)

    def hidden(self, state: State, reply: Tensor) -> Tensor:
        """Return [B, T, D]: position t has read START and reply[:, :t]."""
        start = reply.new_full((len(reply), 1), START)
        return self.trunk.unroll(state, torch.cat((start, reply[:, :-1]), dim=1))

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., D] into logits [..., V]."""
        return self.trunk.project(hidden)

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        hidden, state = self.trunk.step(state, tokens)
        return self.project(hidden).float(), state


def add_adapters(network: nn.Module, adapters: Adapters) -> None:
    """Put adapters that do nothing yet into `network`, in place; they alone learn. Raises LanguageModelError."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise LanguageModelError(
            f"low-rank adapters need {error.name}, which is not here: pip install 'rejoinder[pretrained]'"
        ) from None
    config = LoraConfig(
        r=adapters.rank,
        lora_alpha=adapters.alpha,
        target_modules=list(adapters.targets) or ALL_LINEAR,
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in network.modules()),  # GPT-2's linear layer
    )
    try:
        inject_adapter_in_model(config, network)
        for name, parameter in network.named_parameters():
            if "lora_" in name:  # beside weights in 16 bits they would be made so, too, and learn badly
                parameter.data = parameter.data.float()
    except ValueError as error:
        first = " ".join(str(error).split())[:160]
        raise LanguageModelError(f"generator.lora.targets={list(adapters.targets)}: {first}") from None


def keep_what_learns(module: nn.Module) -> None:
    """Leave the frozen weights of `module` out of its state_dict, and expect none of them when one is loaded.

    Which these are is decided now: what is frozen later, a reference, keeps its state. Of tied weights one is kept.
    """
    learning = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    if all(parameter.requires_grad for parameter in module.parameters()):
        learning |= {name for name, _ in module.named_buffers()}

    def drop(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        for key in [key for key in state if key.startswith(prefix) and key.removeprefix(prefix) not in learning]:
            del state[key]

    def forgive(_: nn.Module, found: Any) -> None:
        found.missing_keys[:] = [key for key in found.missing_keys if key in learning]

    module.register_state_dict_post_hook(drop)  # type: ignore[no-untyped-call]
    module.register_load_state_dict_post_hook(forgive)  # type: ignore[no-untyped-call]


@torch.no_grad()
def check_understood(generator: PretrainedGenerator, most: float = 2e-3) -> None:
    """Hold our way of reading against the library's own on a short dialogue of arbitrary tokens.

    Language models differ in how they count positions, cache and scale. Raises LanguageModelError for one whose logits
    come out otherwise by more than the share `most` of their spread: nothing that it learnt here could be trusted.
    Weights in 16 bits are computed with in 32: the sums of 16 differ by more than a misreading does.
    """
    was_training = generator.training
    generator.eval()
    trunk, config, device = generator.trunk, generator.trunk.config, next(generator.parameters()).device
    allowed = [i for i in range(config.tokens) if i not in config.never]
    chosen = [allowed[i * 7919 % len(allowed)] + generator.vocabulary_size - config.tokens for i in range(8)]
    context = torch.tensor([[*chosen[:3], 2, *chosen[3:5], 2], [chosen[5], 2, 0, 0, 0, 0, 0]], device=device)
    reply = torch.tensor([chosen[4:8], chosen[1:5]], device=device)[:, : generator.reply_tokens]
    try:
        with computed_in_32_bits(trunk):
            whole, stepped = _own_logits(generator, context, reply)
            library = _library_logits(trunk, context, reply)
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError) as error:
        first = " ".join(str(error).split())[:120]
        raise LanguageModelError(
            f"a language model of type {config.library['model_type']!r} is not understood: it cannot be read with keys "
            f"and values of its own for every reply ({first})"
        ) from None
    written = slice(generator.vocabulary_size - config.tokens, None)
    heard = ~trunk.get_buffer("_never")
    spread = float(library.float().std())
    for name, found in (("a whole reply", whole), ("a reply read token by token", stepped)):
        off = float((found[..., written] - library)[..., heard].abs().max())
        if not off <= most * max(spread, 1e-6):
            raise LanguageModelError(
                f"a language model of type {config.library['model_type']!r} is not understood: the logits of {name} "
                f"are off by {off:.3g} where their spread is {spread:.3g}"
            )
    generator.train(was_training)


@contextmanager
def computed_in_32_bits(module: nn.Module) -> Iterator[None]:
    """Let `module` compute in 32 bits with weights kept in 16, one layer's at a time: no second copy fills the memory.

    Weights that several modules share stay shared.
    """
    kept: list[tuple[nn.Parameter, Tensor]] = []

    def widen(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        for parameter in layer.parameters(recurse=False):
            kept.append((parameter, parameter.data))
            parameter.data = parameter.data.float()
        return tuple(value.float() if _is_narrow(value) else value for value in given)

    def give_back(layer: nn.Module, *_: Any) -> None:
        for _parameter in layer.parameters(recurse=False):
            parameter, data = kept.pop()
            parameter.data = data

    layers = [layer for layer in module.modules() if any(map(_is_narrow, layer.parameters(recurse=False)))]
    hooks = [layer.register_forward_pre_hook(widen) for layer in layers]
    hooks += [layer.register_forward_hook(give_back) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, data in reversed(kept):  # what a failure left wide
            parameter.data = data


def _is_narrow(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float32


def _own_logits(generator: PretrainedGenerator, context: Tensor, reply: Tensor) -> tuple[Tensor, Tensor]:
    """Return our logits [B, T, V], read as a whole and token by token."""
    whole = generator.score(generator.encode(context), reply)
    state, previous, stepped = generator.encode(context), torch.full_like(reply[:, 0], START), []
    for token in reply.unbind(1):
        logits, state = generator.step(state, previous)
        stepped.append(logits)
        previous = token
    return whole, torch.stack(stepped, 1)


def _library_logits(trunk: PretrainedTrunk, context: Tensor, reply: Tensor) -> Tensor:
    """Return the logits [B, T, tokens] that the library's own model gives, one dialogue after the other, unpadded."""
    config, rows = trunk.config, []
    prompt, mask = trunk.prompts(context)
    for i in range(len(context)):
        own = prompt[i, : int(mask[i].sum())][None]
        start = torch.tensor([[*config.begun, config.start]], device=own.device)
        read = torch.cat((start, trunk.ids(reply[i : i + 1, :-1])), 1)
        if config.kind == "causal":
            logits = trunk.network(input_ids=torch.cat((own, read), 1)).logits
        else:
            logits = trunk.network(input_ids=own, decoder_input_ids=read).logits
        rows.append(logits[0, -reply.shape[1] :, : config.tokens])
    return torch.stack(rows)
