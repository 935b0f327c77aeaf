"""The encoder-decoder generator: a trunk and a projection on the vocabulary, tied to the trunk's embeddings."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from chatbot.generator.interface import Generator, State
from chatbot.generator.recurrent import RecurrentTrunk
from chatbot.generator.transformer import TransformerTrunk
from chatbot.generator.trunk import Trunk, TrunkConfig
from chatbot.tokenizer import START


def build_trunk(config: TrunkConfig, vocabulary_size: int, context_tokens: int, reply_tokens: int) -> Trunk:
    """Build the trunk that `config.architecture` names."""
    trunk = {"recurrent": RecurrentTrunk, "transformer": TransformerTrunk}[config.architecture]
    return trunk(config, vocabulary_size, context_tokens, reply_tokens)


class Seq2SeqGenerator(Generator):
    """Model P(reply | context) with an encoder-decoder; input and output embeddings are tied (Press and Wolf 2017)."""

    def __init__(self, config: TrunkConfig, vocabulary_size: int, context_tokens: int, reply_tokens: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.reply_tokens = reply_tokens
        self.width = config.width
        self.context_tokens = context_tokens
        self.trunk = build_trunk(config, vocabulary_size, context_tokens, reply_tokens)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies."""
        return self.trunk.encode(context)

    def hidden(self, state: State, reply: Tensor) -> Tensor:
        """Return [B, T, D]: position t has read START and reply[:, :t]."""
        start = reply.new_full((len(reply), 1), START)
        return self.trunk.unroll(state, torch.cat((start, reply[:, :-1]), dim=1))

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., D] into logits [..., V]."""
        return functional.linear(hidden, self.trunk.embedding.weight, self.bias)

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        hidden, state = self.trunk.step(state, tokens)
        return self.project(hidden).float(), state

    def step_soft(self, state: State, soft: Tensor) -> tuple[Tensor, State]:
        """Append the expected embedding of a distribution over tokens [B, V] to every lane; otherwise like `step`."""
        hidden, state = self.trunk.read_step(state, self.trunk.embed_soft(soft))
        return self.project(hidden).float(), state
