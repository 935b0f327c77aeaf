"""Conditional generation at dialogue size written the plain way: `nn.Transformer`, fp32, everything padded.

The reference of the benchmark. Every prefix is read again for every word that is drawn, and rewards come from a
discriminator of whole replies: one for each reply, or one for each token by N rollouts one after the other. B pairs,
K samples for each context, S context tokens, T reply tokens, V vocabulary, N rollouts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import PAD, START, TURN


class PlainTransformer(nn.Module):
    """An encoder-decoder of torch's own layers, with input and output embeddings tied."""

    def __init__(self, config: TrunkConfig, vocabulary: int, context_tokens: int, reply_tokens: int) -> None:
        super().__init__()
        width = config.width
        self.reply_tokens = reply_tokens
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.context_positions = nn.Embedding(context_tokens, width)
        self.reply_positions = nn.Embedding(reply_tokens, width)
        shape = {"dropout": config.dropout, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, config.heads, config.feedforward, **shape),  # type: ignore[arg-type]
            config.encoder_layers, nn.LayerNorm(width), enable_nested_tensor=False,
        )  # fmt: skip
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(width, config.heads, config.feedforward, **shape),  # type: ignore[arg-type]
            config.decoder_layers, nn.LayerNorm(width),
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def read(self, context: Tensor) -> Tensor:
        """Return the encoded contexts [B, S, D]."""
        x = self.embedding(context) + self.context_positions.weight[: context.shape[1]]
        read: Tensor = self.encoder(x, src_key_padding_mask=context == PAD)
        return read

    def hidden(self, memory: Tensor, context: Tensor, tokens: Tensor) -> Tensor:
        """Return hidden states [B, T, D] after tokens [B, T]."""
        x = self.embedding(tokens) + self.reply_positions.weight[: tokens.shape[1]]
        later = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).triu(1)
        hidden: Tensor = self.decoder(x, memory, tgt_mask=later, memory_key_padding_mask=context == PAD)
        return hidden

    def logits(self, memory: Tensor, context: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits [B, T, V] of what comes after each of tokens [B, T]."""
        return functional.linear(self.hidden(memory, context, tokens), self.embedding.weight, self.bias)

    @torch.no_grad()
    def sample(self, memory: Tensor, context: Tensor, begun: Tensor) -> Tensor:
        """Return replies [B, T] that begin with `begun` [B, t]; all are written until the last has ended."""
        tokens = torch.cat((torch.full_like(context[:, :1], START), begun), dim=1)
        ended = (begun == TURN).any(1)
        while tokens.shape[1] <= self.reply_tokens and not bool(ended.all()):
            chances = torch.softmax(self.logits(memory, context, tokens)[:, -1], dim=-1)
            drawn = torch.multinomial(chances, 1).squeeze(1).masked_fill(ended, PAD)
            ended = ended | (drawn == TURN)
            tokens = torch.cat((tokens, drawn[:, None]), dim=1)
        return tokens[:, 1:]

    def judge(self, context: Tensor, reply: Tensor) -> Tensor:
        """Return one logit [B] for each whole reply."""
        hidden = self.hidden(self.read(context), context, reply)
        last = (reply != PAD).sum(1).clamp(min=1) - 1
        logits: Tensor = self.head(hidden[torch.arange(len(reply)), last]).squeeze(1)
        return logits


class PlainDialogue:
    """The steps of the two players."""

    def __init__(self, generator: PlainTransformer, discriminator: PlainTransformer, rollouts: int) -> None:
        self.generator, self.discriminator, self.rollouts = generator, discriminator, rollouts
        self.optimizer = torch.optim.AdamW(generator.parameters(), lr=1e-3)
        self.judge_optimizer = torch.optim.AdamW(discriminator.parameters(), lr=5e-4)

    def likelihood_step(self, context: Tensor, reply: Tensor) -> None:
        """Take one step of maximum likelihood."""
        self.generator.train()
        self._descend(self._losses(context, reply).sum() / (reply != PAD).sum())

    def generator_step(self, context: Tensor, samples: int, by_rollouts: bool = False) -> None:
        """Draw K replies for each context, reward them, and take one policy-gradient step."""
        self.generator.eval()
        self.discriminator.eval()
        context = context.repeat_interleave(samples, 0)
        with torch.no_grad():
            memory = self.generator.read(context)
            replies = self.generator.sample(memory, context, context[:, :0])
            if by_rollouts:
                rewards = self._search(memory, context, replies)
            else:
                rewards = torch.sigmoid(self.discriminator.judge(context, replies))[:, None]
        self.generator.train()
        advantages = rewards - rewards.mean()
        self._descend((self._losses(context, replies) * advantages).sum() / (replies != PAD).sum())

    def _search(self, memory: Tensor, context: Tensor, replies: Tensor) -> Tensor:
        total = torch.zeros(replies.shape)
        for _ in range(self.rollouts):
            for given in range(1, replies.shape[1] + 1):
                ended = self.generator.sample(memory, context, replies[:, :given])
                total[:, given - 1] += torch.sigmoid(self.discriminator.judge(context, ended))
        return total / self.rollouts

    def discriminator_step(self, context: Tensor, reply: Tensor, labels: Tensor) -> None:
        """Take one step of D on pairs with labels [B], 1 for human."""
        self.discriminator.train()
        loss = functional.binary_cross_entropy_with_logits(self.discriminator.judge(context, reply), labels)
        self.judge_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.discriminator.parameters(), 1.0)
        self.judge_optimizer.step()

    def _losses(self, context: Tensor, reply: Tensor) -> Tensor:
        before = torch.cat((torch.full_like(reply[:, :1], START), reply[:, :-1]), dim=1)
        logits = self.generator.logits(self.generator.read(context), context, before)
        flat = functional.cross_entropy(logits.flatten(0, 1), reply.flatten(), ignore_index=PAD, reduction="none")
        return flat.view(reply.shape)

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.generator.parameters(), 1.0)
        self.optimizer.step()
