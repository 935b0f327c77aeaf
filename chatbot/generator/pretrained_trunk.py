"""A language model as a trunk: contexts and reply tokens in our ids go in, hidden states and logits come out.

What causal models and encoder-decoders have in common; how each reads is in `pretrained_causal` and
`pretrained_seq2seq`. B lanes, S prompt tokens, T reply tokens, D width, V our vocabulary.
"""

from abc import ABC, abstractmethod
from typing import Any, Final

import torch
from torch import Tensor, nn

from chatbot.borrowed_tokenizer import BORROWED_BY
from chatbot.errors import LanguageModelError
from chatbot.generator.interface import State
from chatbot.generator.language_model import LanguageModelConfig
from chatbot.tokenizer import PAD, START, TURN

_UNHEARD: Final = -1e4
"""The logit of tokens that are never written: no chance is left, and nothing is infinite."""
PROMPT_STEP: Final = 16
"""In evaluation prompts are padded to a multiple of this, so that sums do not depend on who is encoded beside."""

KeyValue = tuple[Tensor, Tensor]


class PretrainedTrunk(nn.Module, ABC):
    """Encode contexts, then turn reply tokens into hidden states that see the context and no later token."""

    _ids: Tensor
    _never: Tensor

    def __init__(self, config: LanguageModelConfig, network: Any, context_tokens: int, reply_tokens: int) -> None:
        """`network` is the library's model, with or without adapters."""
        super().__init__()
        self.config = config
        self.network = network
        self.context_tokens = context_tokens
        self.reply_tokens = reply_tokens
        self.width: int = network.get_output_embeddings().weight.shape[1]
        self.vocabulary_size = config.tokens + BORROWED_BY
        self.checkpointing = False
        ids = torch.arange(self.vocabulary_size) - BORROWED_BY
        ids[[PAD, START, TURN]] = torch.tensor([config.layout.end, config.start, config.layout.end])
        never = torch.zeros(config.tokens, dtype=torch.bool)
        never[[i for i in config.never if i < config.tokens]] = True
        self.register_buffer("_ids", ids, persistent=False)
        self.register_buffer("_never", never, persistent=False)
        most = getattr(network.config, "max_position_embeddings", None)
        self.most_prompt: int | None = None if most is None else most - reply_tokens
        fixed = len(config.layout.opening) + len(config.layout.cue) + config.layout.longest_frame
        if self.most_prompt is not None and self.most_prompt < fixed + context_tokens:
            raise LanguageModelError(
                f"contexts of {context_tokens} and replies of {reply_tokens} tokens do not fit the language model: it "
                f"reads {most}, of which its prompt takes {fixed}"
            )

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] (our ids, PAD on the right) and return B lanes with empty replies."""
        return self.read_prompts(*self.prompts(context))

    @abstractmethod
    def read_prompts(self, prompt: Tensor, mask: Tensor) -> State:
        """Read prompts [B, S], real where `mask` [B, S] is true, and return B lanes with empty replies."""

    @abstractmethod
    def unroll(self, state: State, tokens: Tensor) -> Tensor:
        """Read tokens [B, T], the first one START, and return hidden states [B, T, D]; t sees tokens[:, :t+1]."""

    @abstractmethod
    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Read one token [B] more in every lane and return its hidden state [B, D]."""

    @abstractmethod
    def unroll_soft(self, state: State, soft: Tensor) -> Tensor:
        """Read START and then distributions [B, T, V] in place of tokens; return hidden states [B, 1 + T, D]."""

    @abstractmethod
    def step_soft(self, state: State, soft: Tensor) -> tuple[Tensor, State]:
        """Read the expected embedding of a distribution over tokens [B, V] in every lane; otherwise like `step`."""

    def embed(self, tokens: Tensor) -> Tensor:
        """Return what the language model makes of our tokens [...]: embeddings [..., E]."""
        embedded: Tensor = self.network.get_input_embeddings()(self.ids(tokens))
        return embedded

    def embed_soft(self, soft: Tensor) -> Tensor:
        """Return the expected embedding [..., E] of tokens distributed as `soft` [..., V]; a one-hot row is a token."""
        table = self.network.get_input_embeddings()
        weight, scale = table.weight, getattr(table, "embed_scale", 1.0)  # BART and Gemma
        soft = soft.to(weight.dtype)
        reserved = soft[..., :BORROWED_BY] @ weight[self._ids[:BORROWED_BY]]
        expected: Tensor = (reserved + soft[..., BORROWED_BY:] @ weight[: self.config.tokens]) * scale
        return expected.to(weight.dtype)

    def let_recompute(self) -> None:
        """Keep no activations of layers while learning: they are computed again on the way back."""
        self.network.activation_checkpointing_enable()
        self.checkpointing = True

    def ids(self, tokens: Tensor) -> Tensor:
        """Return the language model's ids of our tokens [...]."""
        return self._ids[tokens]

    def prompts(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return prompts [B, S] in the language model's ids and where they are real [B, S]; what a reply begins behind.

        `start` of a causal model, the last id of every prompt, is left out: it is what START stands for.
        """
        layout = self.config.layout
        rows = []
        for row in context.tolist():
            turns: list[list[int]] = [[]]
            for token in row:
                if token == TURN:
                    turns.append([])
                elif token != PAD:
                    turns[-1].append(token - BORROWED_BY)
            if len(turns) > 1 and not turns[-1]:
                turns.pop()  # what the last turn's own end has opened
            ids = layout.prompt(turns, self.most_prompt)
            rows.append(ids[:-1] if self.config.kind == "causal" else ids)
        width = max(1, *(len(row) for row in rows))
        if not self.training:
            width = -(-width // PROMPT_STEP) * PROMPT_STEP
        filler = layout.end
        prompt = torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], device=context.device)
        lengths = torch.tensor([len(row) for row in rows], device=context.device)
        return prompt, torch.arange(width, device=context.device) < lengths[:, None]

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., D] into logits [..., V] of our ids; special tokens but the end have no chance."""
        settings = self.network.config
        if getattr(settings, "scale_decoder_outputs", False):  # T5
            hidden = hidden * settings.d_model**-0.5
        scores: Tensor = self.network.get_output_embeddings()(hidden)
        bias = getattr(self.network, "final_logits_bias", None)  # BART
        if bias is not None:
            scores = scores + bias[0]
        if (softcap := getattr(settings, "final_logit_softcapping", None)) is not None:  # Gemma 2 and 3
            scores = torch.tanh(scores / softcap) * softcap
        if (scale := getattr(settings, "logits_scaling", None)) is not None:  # Granite
            scores = scores / scale
        if (scale := getattr(settings, "logit_scale", None)) is not None:  # Cohere
            scores = scores * scale
        end = scores[..., self.config.layout.end, None]
        silent = torch.full_like(end, _UNHEARD)
        written = scores[..., : self.config.tokens].masked_fill(self._never, _UNHEARD)
        return torch.cat((silent, silent, end, written), -1)


def started(soft: Tensor) -> Tensor:
    """Return START [B, 1] for the lanes of distributions [B, ...]."""
    return torch.full((len(soft), 1), START, device=soft.device)


def select_pairs(pairs: list[KeyValue], lanes: Tensor) -> list[KeyValue]:
    """Return keys and values of `lanes`, in that order."""
    return [(keys.index_select(0, lanes), values.index_select(0, lanes)) for keys, values in pairs]


def paired(tensors: list[Tensor]) -> list[KeyValue]:
    """Return tensors that stand as keys, values, keys, ... as pairs."""
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def build_trunk(config: LanguageModelConfig, network: Any, context_tokens: int, reply_tokens: int) -> PretrainedTrunk:
    """Build the trunk of the kind that `config` names."""
    if config.kind == "causal":
        from chatbot.generator.pretrained_causal import CausalTrunk

        return CausalTrunk(config, network, context_tokens, reply_tokens)
    from chatbot.generator.pretrained_seq2seq import EncoderDecoderTrunk

    return EncoderDecoderTrunk(config, network, context_tokens, reply_tokens)
