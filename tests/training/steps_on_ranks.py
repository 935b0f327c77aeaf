"""Take steps as torchrun starts it (`-m tests.training.steps_on_ranks DIRECTORY`): every rank leaves its weights."""

import sys
from pathlib import Path

import torch

from chatbot.generator.seq2seq import Seq2SeqGenerator
from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    DATA,
    batch_of,
    copy_task,
    discriminator,
    generator,
    seqgan,
    split_of,
)
from training import ranks
from training.batches import Batches
from training.config import MLEConfig
from training.losses import token_log_probabilities
from training.objectives.mle import MaximumLikelihood


@torch.no_grad()
def likelihoods(model: Seq2SeqGenerator) -> torch.Tensor:
    """Return log P of every token of the task's replies."""
    model.eval()
    batch = batch_of(copy_task())
    return token_log_probabilities(model, model.encode(batch.context), batch.reply)


def main(directory: Path) -> None:
    """Train by likelihood, then against a fixed D, on the batches that all ranks share."""
    kept: dict[str, object] = {}
    for architecture in ARCHITECTURES:
        model = generator(architecture)
        learning = MaximumLikelihood(
            model, Batches(split_of(copy_task()), 12, DATA, 0, CPU), MLEConfig(learning_rate=1e-3, warmup=0), "fp32"
        )
        figures = [ranks.mean(learning.step(0.0)) for _ in range(4)]
        kept[f"likelihood {architecture}"] = [model.state_dict(), figures, likelihoods(model)]
        for credit, baseline in (("step", "loo"), ("final", "ema"), ("step", "critic")):
            model, judge = generator(architecture), discriminator(architecture)
            settings = {"discriminator_steps": 0, "kl": 0.1, "teacher_forcing": 0.5, "learning_rate": 1e-3}
            play = seqgan(model, judge, copy_task(), credit=credit, baseline=baseline, **settings)
            figures = [ranks.mean(play.step(0.0)) for _ in range(3)]
            kept[f"{credit} {baseline} {architecture}"] = [model.state_dict(), figures, likelihoods(model)]
    model, judge = generator(), discriminator()
    play = seqgan(model, judge, copy_task(), credit="mc", rollouts=2, learning_rate=1e-3)
    for _ in range(3):
        play.step(0.0)
    kept["with D"] = [model.state_dict() | judge.state_dict(), [], likelihoods(model)]
    torch.save(kept, directory / f"rank{ranks.number()}of{ranks.count()}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks.joined():
        main(Path(sys.argv[1]))
