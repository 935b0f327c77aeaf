"""How long a decode step takes, and what share of the product's bound it reaches: `python benchmarks/decoding.py`.

The setting of the service's measurements: a Transformer encoder-decoder of width 256, feed-forward 2,048, 3 + 3 layers,
8,192 tied tokens (T), a GRU of the same kind (G), 16 context tokens, 20 new ones for every reply (`fixed`) or 4 to 36
(`mixed`), nucleus 0.95. Weights are random. One thread, and its processor time: other programs on the machine slow the
caches, but their turns are not counted.

Writes JSON rows, one for each precision, model, lanes and lengths:
`step_ms` (a whole engine step, drawing and admission included), `model_ms` (the model's part alone), `gemm_ms` (its
matrix products alone, with weights in memory order), `bound` (gemm_ms / step_ms), `tokens_per_s`, `replies_per_s`,
`first_token_ms` (median, of a reply that arrives while all lanes but one are busy).
"""

import argparse
import json
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chatbot.decoding import Decoding
from chatbot.engine.engine import Engine, Work
from chatbot.engine.narrow import NarrowGenerator, Precision
from chatbot.engine.precision import divergence
from chatbot.generator.interface import Generator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.memory import keep_freed_memory
from chatbot.request import with_limit
from chatbot.tokenizer import START, TURN

CONTEXT_TOKENS = 16
REPLY_TOKENS = 36
SHAPES = {
    "T": TrunkConfig("transformer", 256, encoder_layers=3, decoder_layers=3, heads=4, feedforward=2048, dropout=0.0),
    "G": TrunkConfig("recurrent", 256, encoder_layers=1, decoder_layers=2, heads=4, feedforward=1024, dropout=0.0),
}


def build(name: str) -> Seq2SeqGenerator:
    """Return a model with random weights whose next token is about as uncertain as a trained one's."""
    torch.manual_seed(0)
    model = Seq2SeqGenerator(SHAPES[name], 8192, 128, REPLY_TOKENS).eval()
    with torch.no_grad():
        model.bias.copy_(-1.2 * torch.log(torch.arange(1, 8193)))  # Zipf
        model.bias[TURN] = -1e9  # lengths are set, not drawn
    return model


def tokens_of(lengths: str, number: int) -> int:
    """Return the length of the reply `number`: 20 tokens (`fixed`), or 4 to 36 (`mixed`)."""
    return 20 if lengths == "fixed" else 4 + number * 7 % 33


def work(key: int, lengths: str) -> Work:
    """Return a reply of 20 tokens, or of 4 to 36."""
    rng = torch.Generator().manual_seed(key)
    tokens = tokens_of(lengths, key)
    context = [*torch.randint(3, 8192, (CONTEXT_TOKENS - 1,), generator=rng).tolist(), TURN]
    return Work(key, context, with_limit(Decoding(temperature=1.0, top_p=0.95, max_tokens=tokens), REPLY_TOKENS), [key])


def run(model: Generator, lanes: int, lengths: str, seconds: float) -> dict[str, float]:
    """Keep all lanes busy for `seconds` and return what was reached."""
    engine = Engine(model, CONTEXT_TOKENS, lanes)
    key = 0
    begun: dict[int, float] = {}
    started = finished = tokens = steps = 0.0
    until = float("inf")
    while time.process_time() < until:
        while len(begun) < lanes:
            begun[key] = time.process_time()
            engine.submit(work(key, lengths))
            key += 1
        step = engine.step()
        for one in step.finished:
            del begun[one.key]
        if until == float("inf"):
            if key < 2 * lanes and key < lanes + 40:  # warm up until lanes end at different steps
                continue
            started = time.process_time()
            until = started + seconds
            continue
        steps += 1
        finished += len(step.finished)
        tokens += sum(len(one.tokens) for one in step.finished)
    took = time.process_time() - started
    return {
        "step_ms": took / steps * 1000,
        "tokens_per_s": tokens / took,
        "replies_per_s": finished / took,
        "first_token_ms": first_token_ms(model, lanes),
    }


def first_token_ms(model: Generator, lanes: int) -> float:
    """Return the median time to the first token of a reply that comes while all lanes but one are busy."""
    engine = Engine(model, CONTEXT_TOKENS, lanes)
    times = []
    for trial in range(7):
        for key in range(lanes - 1):
            engine.submit(work(1000 * trial + key, "mixed"))
        for _ in range(4):
            engine.step()
        newcomer = Work(-1, work(trial, "fixed").context, work(trial, "fixed").decoding, [trial], watched=True)
        started = time.process_time()
        engine.submit(newcomer)
        while not any(written.key == -1 for written in engine.step().written):
            pass
        times.append((time.process_time() - started) * 1000)
        while engine.busy:
            engine.step()
    return statistics.median(times)


@torch.inference_mode()
def fastest_ms(call: Any, repeats: int = 30) -> float:
    """Return the best mean time of `call` in five rounds: the clock of processor time is a coarse one."""
    times = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(repeats):
            call()
        times.append((time.process_time() - started) / repeats)
    return min(times) * 1000


@torch.inference_mode()
def model_ms(model: Generator, lanes: int) -> float:
    """Return the time of the model's step alone, in the middle of a reply."""
    state = model.encode(torch.full((lanes, CONTEXT_TOKENS), TURN))
    tokens = torch.full((lanes,), START)
    times = []
    for _ in range(REPLY_TOKENS):
        started = time.process_time()
        _, state = model.step(state, tokens)
        times.append(time.process_time() - started)
    return statistics.median(times[5:]) * 1000


@torch.inference_mode()
def gemm_ms(model: Seq2SeqGenerator, precision: Precision, lanes: int) -> float:
    """Return the time of a step's matrix products alone, in this precision's kernel: what no step can beat."""
    shapes = [(layer.out_features, layer.in_features) for layer in _step_layers(model)]
    for module in model.trunk.modules():
        if isinstance(module, nn.GRU) and module.input_size == module.hidden_size:
            shapes += [(3 * module.hidden_size, module.input_size)] * 2
    shapes.append((model.vocabulary_size, model.width))
    total = 0.0
    for (outputs, inputs), count in {shape: shapes.count(shape) for shape in shapes}.items():
        total += count * _product_ms(outputs, inputs, precision, lanes)
    return total


def _step_layers(model: Seq2SeqGenerator) -> list[nn.Linear]:
    layers = []
    for name, module in model.trunk.decoder.named_modules():  # type: ignore[union-attr]
        if isinstance(module, nn.Linear) and not name.endswith("key_value"):  # the context's, once a reply
            layers.append(module)
    return layers


def _product_ms(outputs: int, inputs: int, precision: Precision, lanes: int) -> float:
    weight = torch.randn(outputs, inputs)
    if precision == "fp32":
        x = torch.randn(lanes, inputs)
        return fastest_ms(lambda: nn.functional.linear(x, weight))
    if precision == "bf16":
        half, narrow = torch.randn(lanes, inputs).bfloat16(), weight.bfloat16()
        return fastest_ms(lambda: nn.functional.linear(half, narrow))
    codes = torch.randint(0, 255, (lanes, inputs), dtype=torch.uint8)
    packed = torch.ops.onednn.qlinear_prepack(torch.randint(-127, 127, (outputs, inputs), dtype=torch.int8), None)
    scale, zero = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32)
    return fastest_ms(
        lambda: torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 128, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
    )


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write; standard output without it")
    parser.add_argument("--models", default="T,G")
    parser.add_argument("--precisions", default="fp32,bf16,int8")
    parser.add_argument("--lanes", default="1,8,16,32,64")
    parser.add_argument("--lengths", default="fixed,mixed")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for name in options.models.split(","):
        model = build(name)
        for precision in options.precisions.split(","):
            generator = model if precision == "fp32" else NarrowGenerator(model, precision)
            for lanes in map(int, options.lanes.split(",")):
                products, own = gemm_ms(model, precision, lanes), model_ms(generator, lanes)
                for lengths in options.lengths.split(","):
                    found = run(generator, lanes, lengths, options.seconds)
                    row = {
                        "model": name,
                        "precision": precision,
                        "lanes": lanes,
                        "lengths": lengths,
                        **found,
                        "model_ms": own,
                        "gemm_ms": products,
                        "bound": products / found["step_ms"],
                    }
                    if precision != "fp32":
                        row["divergence_nats"] = divergence(model, generator, CONTEXT_TOKENS)
                    rows.append({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)  # noqa: T201 - its progress
    result = {
        "benchmark": "decoding",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": 1,
        "rows": rows,
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.out is None:
        sys.stdout.write(text)
    else:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
