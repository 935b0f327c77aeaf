"""Time a step of likelihood on a pretrained language model with adapters beside what a user would write otherwise.

    python -m benchmarks.passages --model DIRECTORY --quick --json result.json

The same everyday conversations, in plain turns, as many pairs a step, in turns on one machine, by three systems:
`rejoinder` reads a dialogue once for all its replies; `pairs` is the same step with each pair read by itself;
`transformers` is peft and the library's own loss over sequences of a context and a reply.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.works import CPU
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.pretrained_source import fetch_language_model
from chatbot.memory import keep_freed_memory
from chatbot.tokenizer import PAD
from training.batches import Batches
from training.config import DataConfig, MLEConfig
from training.corpus.dataset import PreparedDataset, Split
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.objectives.mle import MaximumLikelihood
from training.passages import Passages
from training.precision import Precision, autocast, choose_precision

_DATA = DataConfig(context_tokens=200, reply_tokens=32)
_TURNS, _DIALOGUES = 24, 1500
_IGNORED = -100
"""What the library's loss takes for a token that is not learnt."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Time likelihood steps of a pretrained language model.")
    parser.add_argument("--model", required=True, help="a causal language model: a directory, a .gguf, a hub name")
    parser.add_argument("--quick", action="store_true", help="three steps of each system instead of nine")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and rows to FILE")
    parser.add_argument("--batch", type=int, default=32, help="pairs a step")
    parser.add_argument("--threads", type=int, help="of all systems; all cores by default")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    about = machine.describe(CPU)
    precision = choose_precision("auto", CPU)
    rows = measure(options.model, options.batch, 3 if options.quick else 9, precision)
    for found in rows:
        speed = f"{found['tokens_per_s']:6.1f} taught tokens/s, {found['seconds']:.2f} s a step"
        sys.stdout.write(f"{found['system']:>13}: {speed}\n")
    if options.json:
        options.json.write_text(json.dumps({"machine": {**about, "precision": precision}, "rows": rows}, indent=1))


def measure(model: str, batch: int, steps: int, precision: Precision) -> list[dict[str, Any]]:
    """Return one row for each system, each with `steps` steps of about `batch` pairs."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        prepare(["everyday-en"], PrepareOptions(out=data, tokenizer=model, max_turns=_TURNS, limit=_DIALOGUES))
        split = PreparedDataset.open(data).split("train")
        systems = _systems(model, split, batch, precision)
        taken: dict[str, list[tuple[int, machine.Timing]]] = {name: [] for name in systems}
        for turn in range(steps + 1):
            for name, step in systems.items():
                found = step()
                if turn:  # the first one is a warm-up
                    taken[name].append(found)
    return [_row(name, found) for name, found in taken.items()]


def _row(system: str, steps: list[tuple[int, machine.Timing]]) -> dict[str, Any]:
    timing = machine.Timing(
        [second for _, taken in steps for second in taken.wall], [s for _, taken in steps for s in taken.processor]
    )
    rate = sum(tokens for tokens, _ in steps) / sum(timing.wall)  # steps differ in what they have to learn
    return machine.row(system, "everyday", "mle_step", timing, tokens_per_s=rate)


Step = Callable[[], tuple[int, machine.Timing]]
"""Takes one step; returns how many tokens it learnt from and how long it took."""


def _systems(model: str, split: Split, batch: int, precision: Precision) -> dict[str, Step]:
    source, _ = fetch_language_model(model, bf16=False, turns="plain")
    adapters = Adapters(16, 32)
    made = {}
    for name, batches in (
        ("rejoinder", Passages(split, batch, _DATA, 0, CPU)),
        ("pairs", Batches(split, batch, _DATA, 0, CPU)),
    ):
        generator = PretrainedGenerator(source, adapters, _DATA.context_tokens, _DATA.reply_tokens)
        learning = MaximumLikelihood(generator, batches, MLEConfig(batch=batch), precision)
        made[name] = _ours(learning)
    other = PretrainedGenerator(source, adapters, _DATA.context_tokens, _DATA.reply_tokens)
    made["transformers"] = _plain(other, Batches(split, batch, _DATA, 0, CPU, by_length=False), precision)
    return made


def _ours(learning: MaximumLikelihood) -> Step:
    def step() -> tuple[int, machine.Timing]:
        found: dict[str, float] = {}
        taken = machine.timing_of(lambda: found.update(learning.step(0.0)), CPU, 1)
        return int(found["tokens"]), taken

    return step


def _plain(made: PretrainedGenerator, batches: Batches, precision: Precision) -> Step:
    network = made.trunk.network
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)

    def step() -> tuple[int, machine.Timing]:
        batch = batches.next()
        rows = [
            (made.trunk.ids(context[context != PAD]), made.trunk.ids(reply[reply != PAD]))
            for context, reply in zip(batch.context, batch.reply, strict=True)
        ]
        longest = max(len(context) + len(reply) for context, reply in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, _IGNORED)
        for i, (context, reply) in enumerate(rows):
            end = len(context) + len(reply)
            ids[i, :end] = torch.cat((context, reply))
            mask[i, :end] = 1
            labels[i, len(context) : end] = reply

        def learn() -> None:
            optimizer.zero_grad()
            with autocast(precision, CPU):
                loss = network(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

        return int((labels != _IGNORED).sum()), machine.timing_of(learn, CPU, 1)

    return step


if __name__ == "__main__":
    main()
