"""The pretrained generator: a language model that learns to reply, itself or by low-rank adapters (Hu et al. 2022).

With adapters the language model's own weights stay as they were and are shared: by generator, frozen reference and
discriminator. `state_dict` is what is learnt and nothing else. B lanes, T reply tokens, D width, V vocabulary.
"""

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
        self.reads_on = language_model.config.kind == "causal" and language_model.config.layout.seamless
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

    def step_soft(self, state: State, soft: Tensor) -> tuple[Tensor, State]:
        """Append the expected embedding of a distribution over tokens [B, V] to every lane; otherwise like `step`."""
        hidden, state = self.trunk.step_soft(state, soft)
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
