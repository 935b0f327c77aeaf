"""How the pair discriminator learns: human replies against the generator's, fresh and old, and against human replies
that belong to other contexts, so that a fluent but unrelated reply is caught. What people said of replies, where it is
known, joins them: replies with a thumb as further examples, preferences as a term of their own.

B contexts, T reply tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chatbot.decoding import plain_sampling, write_replies
from chatbot.discriminator import Discriminator, PairDiscriminator, final_logits
from chatbot.generator.interface import Generator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import PAD
from training import ranks
from training.batches import Batch, Batches
from training.config import DiscriminatorConfig
from training.feedback.agreement import agreement, all_margins, margins
from training.feedback.encoding import TaughtFeedback, Thumbed
from training.losses import pairwise_preference, prefix_cross_entropy, reply_mask
from training.precision import Precision, autocast
from training.rewards import draw_seeds

FRESH, OLD = 0.625, 0.375
"""Machines' replies in the mixed batch for each human one; with half as many strangers these are 25, 15 and 20 %."""
_HEAD = 0.1
"""What is left of a fresh head over a trunk that knows something already: at first every logit is near zero."""
_SEED = 0
"""Of the replies drawn to held-out contexts: always the same draws, so that measures differ by the models alone."""


@dataclass(frozen=True)
class MixedBatch:
    """One shuffled batch for D: replies [M, T], labels [M], rows of `pairs` [P, 2] (human, machine).

    Row i answers context[lane[i]]; contexts [C, S] are fewer than replies, and each is encoded once.
    """

    context: Tensor
    lane: Tensor
    reply: Tensor
    label: Tensor
    pairs: Tensor


@torch.no_grad()
def fresh_fakes(generator: Generator, context: Tensor, rng: torch.Generator, precision: Precision) -> Tensor:
    """Return one reply [B, T] for each context [B, S], drawn from the generator's own distribution."""
    generator.eval()
    with autocast(precision, context.device):
        seeds = draw_seeds(len(context), rng, context.device)
        lanes = plain_sampling(len(context), seeds, generator.reply_tokens)
        return write_replies(generator, generator.encode(context), lanes).tokens


def mix(
    batch: Batch,
    fakes: Tensor,
    old: Batch | None,
    config: DiscriminatorConfig,
    rng: torch.Generator,
    thumbed: Thumbed | None = None,
) -> MixedBatch:
    """Return 40 % human replies, 25 % fresh fakes, 15 % old fakes and 20 % human replies to other contexts, shuffled.

    The last share is that of `config.mismatched` by default. `fakes` [B, T] answer the contexts of `batch`; without
    `old` ones fresh fakes take their place. Replies with a thumb come on top: liked ones as human, disliked ones not.
    """
    count, device = len(batch), batch.context.device
    # Batches may be sorted by length. Whose fakes are used and whose replies are strangers must not depend on it, or D
    # learns to tell short from long.
    mixed_up = torch.randperm(count, generator=rng).to(device)
    batch, fakes = Batch(batch.context[mixed_up], batch.reply[mixed_up]), fakes[mixed_up]
    fresh, kept = round(FRESH * count), round(OLD * count)
    aged = Batch(batch.context[-kept:], fakes[-kept:]) if old is None else Batch(old.context[:kept], old.reply[:kept])
    # Rolled by one, every reply meets a neighbour's context; the same reply twice in a batch would be no mismatch.
    strangers = pad_together([batch.reply, batch.reply.roll(1, 0)])
    wrong = (strangers[:count] != strangers[count:]).any(1).nonzero().squeeze(1)[: round(config.mismatched * count)]
    own = torch.arange(count, device=device)
    lane = torch.cat((own, own[:fresh], count + torch.arange(len(aged), device=device), wrong))
    replies = [batch.reply, fakes[:fresh], aged.reply, batch.reply.roll(1, 0)[wrong]]
    labels = torch.zeros(len(lane), device=device)
    labels[:count] = config.real_label
    contexts = [batch.context, aged.context]
    if thumbed is not None:
        behind = count + len(aged)
        lane = torch.cat((lane, behind + torch.arange(len(thumbed), device=device)))
        labels = torch.cat((labels, config.real_label * thumbed.up.float()))
        replies.append(thumbed.reply)
        contexts.append(thumbed.context)
    order = torch.randperm(len(labels), generator=rng).to(device)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=device)
    pairs = torch.stack((place[own[:fresh]], place[count + own[:fresh]]), dim=1)
    return MixedBatch(pad_together(contexts), lane[order], pad_together(replies)[order], labels[order], pairs)


def pad_together(rows: list[Tensor]) -> Tensor:
    """Return tensors [n_i, T_i] of ids as one [sum n_i, longest T], PAD on the right."""
    longest = max(r.shape[1] for r in rows)
    return torch.cat([torch.nn.functional.pad(r, (0, longest - r.shape[1]), value=PAD) for r in rows])


def one_prefix(mask: Tensor, rng: torch.Generator) -> Tensor:
    """Return [B, T], true at one token of each row of mask [B, T], each of its tokens as likely as the others."""
    drawn = torch.rand(len(mask), generator=rng).to(mask.device)
    chosen = (drawn * mask.sum(1)).long()
    return mask & (mask.long().cumsum(1) - 1 == chosen[:, None])


@torch.no_grad()
def start_from_generator(discriminator: Discriminator, generator: Seq2SeqGenerator) -> None:
    """Give D's trunk, of the same shape, the generator's weights: it reads from the first step on, and learns to judge.

    A language model's features tell its own samples from human text better than those of a small classifier
    (Zellers et al. 2019).
    """
    discriminator.trunk.load_state_dict(generator.trunk.state_dict())
    discriminator.head.weight.mul_(_HEAD)
    discriminator.head.bias.zero_()


class Discrimination:
    """Teach D, and know how well it does on pairs that it never saw."""

    def __init__(
        self,
        discriminator: PairDiscriminator,
        generator: Generator,
        batches: Batches,
        held_out: Batch,
        config: DiscriminatorConfig,
        precision: Precision,
        rng: torch.Generator,
        *,
        one_prefix: bool = False,
        feedback: TaughtFeedback | None = None,
    ) -> None:
        """With `one_prefix` D learns from one random prefix of each reply and compares no reply with a fake one.

        People prefer whole replies, so preferences in `feedback` compare whole ones all the same.
        """
        self.discriminator = discriminator
        self.generator = generator
        self.batches = batches
        self.held_out = held_out
        self.config = config
        self.precision = precision
        self.rng = rng
        self.one_prefix = one_prefix
        self.feedback = feedback
        self.optimizer = torch.optim.AdamW(
            discriminator.parameters(),
            lr=config.learning_rate,
            betas=(0.5, 0.98),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self._old: list[tuple[Tensor, Tensor]] = []
        self.accuracy = 0.5

    def step(self, progress: float = 0.0) -> dict[str, float]:
        """Take one step on a fresh batch and fresh fakes: D's pretraining."""
        batch = self.batches.next()
        return self.learn(batch, fresh_fakes(self.generator, batch.context, self.rng, self.precision))

    def learn(self, batch: Batch, fakes: Tensor) -> dict[str, float]:
        """Take one step on human replies and on `fakes` [B, T] for the same contexts."""
        old, feedback = self._recall(round(OLD * len(batch))), self.feedback
        thumbed = feedback.draw_thumbs(len(batch), self.rng) if feedback is not None else None
        mixed = mix(batch, fakes, old, self.config, self.rng, thumbed)
        self.discriminator.train()
        loss, final = self._judge(mixed)
        preferred = feedback.draw_preferences(self.rng) if feedback is not None else None
        if feedback is not None and preferred is not None:
            margin = margins(self.discriminator, preferred, self.precision)
            loss = loss + feedback.config.preference * pairwise_preference(margin, torch.zeros_like(margin))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        ranks.clip_gradients(self.discriminator.parameters(), self.config.clip)
        self.optimizer.step()
        self._keep(batch.context, fakes)
        right = (final.detach() > 0) == (mixed.label > 0.5)
        return {"d_loss": float(loss.detach()), "d_accuracy_training": float(right.float().mean())}

    def _judge(self, mixed: MixedBatch) -> tuple[Tensor, Tensor]:
        """Return D's loss on `mixed` and its logit [M] of each whole reply."""
        with autocast(self.precision, mixed.context.device):
            state = self.discriminator.encode(mixed.context).select(mixed.lane)
            logits = self.discriminator(state, mixed.reply)
        final, mask = final_logits(logits, mixed.reply), reply_mask(mixed.reply)
        if self.one_prefix:
            seen = one_prefix(mask, self.rng) if self.discriminator.training else mask
            return prefix_cross_entropy(logits, mixed.label, seen), final
        loss = prefix_cross_entropy(logits, mixed.label, mask)
        preference = pairwise_preference(final[mixed.pairs[:, 0]], final[mixed.pairs[:, 1]])
        return loss + self.config.pairwise * preference, final

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Return D's loss and accuracy on held-out human replies, on fresh fakes and on mismatched human replies.

        `d_accuracy` is the mean over the first two: on training pairs D may shine by having memorised them. With
        feedback, also how often it agrees with preferences that it never saw; the loss then holds their term, too.
        """
        self.discriminator.eval()
        context, human, count = self.held_out.context, self.held_out.reply, len(self.held_out)
        own = torch.arange(count, device=human.device)
        strangers = round(self.config.mismatched * count)
        fakes = fresh_fakes(self.generator, context, torch.Generator().manual_seed(_SEED), self.precision)
        labels = torch.zeros(2 * count + strangers, device=human.device)
        labels[:count] = self.config.real_label
        replies = pad_together([human, fakes, human.roll(1, 0)[:strangers]])
        pairs = torch.stack((own, count + own), dim=1)
        lanes = torch.cat((own, own, own[:strangers]))
        loss, final = self._judge(MixedBatch(context, lanes, replies, labels, pairs))
        shares = [float((part > 0).float().mean()) for part in torch.split(final, [count, count, strangers])]
        self.accuracy = (shares[0] + 1 - shares[1]) / 2
        found = {
            "d_accuracy": self.accuracy,
            "d_loss_held_out": float(loss),
            "d_human_taken_for_human": shares[0],
            "d_machine_taken_for_human": shares[1],
        }
        if strangers:
            found["d_mismatched_taken_for_human"] = shares[2]
        if self.feedback is not None and (preferred := self.feedback.held_out) is not None:
            margin = all_margins(self.discriminator, preferred, self.precision)
            term = pairwise_preference(margin, torch.zeros_like(margin))
            found["d_loss_held_out"] += self.feedback.config.preference * float(term)
            found["d_feedback_agreement"] = float(agreement(margin, preferred.owner).mean())
        return found

    def _keep(self, context: Tensor, fakes: Tensor) -> None:
        self._old.append((context, fakes))
        while sum(len(c) for c, _ in self._old) > self.config.replay:
            self._old.pop(0)

    def _recall(self, count: int) -> Batch | None:
        """Return about `count` old fakes, a quarter from each of four memories of one step, drawn at random."""
        if not self._old:
            return None
        chosen = torch.randint(len(self._old), (4,), generator=self.rng).tolist()
        share = -(-count // 4)
        parts = [self._old[i] for i in chosen]
        rows = [torch.randperm(len(c), generator=self.rng)[:share].to(c.device) for c, _ in parts]
        contexts = pad_together([c[r] for (c, _), r in zip(parts, rows, strict=True)])
        fakes = pad_together([f[r] for (_, f), r in zip(parts, rows, strict=True)])
        return Batch(contexts, fakes)

    def soften(self) -> None:
        """Halve the learning rate: what follows a rollback."""
        for group in self.optimizer.param_groups:
            group["lr"] /= 2

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "old": [[c, f] for c, f in self._old],
            "accuracy": self.accuracy,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        device = self.held_out.context.device
        self._old = [(c.to(device), f.to(device)) for c, f in state["old"]]
        self.accuracy = state["accuracy"]
