"""Fused steps compute what plain ones compute, row by row, and refuse what those refuse."""

import logging
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from chatbot.decoding import GREEDY, Decoding, Lanes
from chatbot.engine import fused as package
from chatbot.engine.engine import Engine, Work
from chatbot.engine.fused import fused_draw
from chatbot.engine.int8 import Int8Linear
from chatbot.engine.narrow import NarrowGenerator
from chatbot.engine.traced import TracedStep
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, Trunk, TrunkConfig
from chatbot.request import with_limit
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.tiny import ARCHITECTURES, CONTEXT_TOKENS, padded

pytest.importorskip("numba")

from chatbot.engine.fused import arithmetic, drawing
from chatbot.engine.fused.compiling import array, compiled
from chatbot.engine.fused.rows import Product, Rows

VOCABULARY = 300
REPLY_TOKENS = 12


def model(architecture: Architecture, width: int = 64, heads: int = 2) -> Seq2SeqGenerator:
    torch.manual_seed(3)
    shape = TrunkConfig(architecture, width, encoder_layers=2, decoder_layers=2, heads=heads, feedforward=3 * width)
    made = Seq2SeqGenerator(shape, VOCABULARY, CONTEXT_TOKENS, REPLY_TOKENS).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # biases and norms begin as zeros and ones, which would hide their absence
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def plain(narrow: NarrowGenerator) -> tuple[Trunk, TracedStep]:
    """Return the same layers on int8, to be called one after the other."""
    trunk = narrow._trunk
    assert isinstance(trunk, Trunk)
    return trunk, TracedStep(narrow._plain_step)


def contexts(count: int) -> Tensor:
    """Return contexts of all lengths, of several turns."""
    rng = torch.Generator().manual_seed(0)
    rows = []
    for row in range(count):
        ids = torch.randint(4, VOCABULARY, (1 + row * 5 % (CONTEXT_TOKENS - 1),), generator=rng).tolist()
        rows.append([*(TURN if place % 5 == 4 else token for place, token in enumerate(ids)), TURN])
    return padded(rows, CONTEXT_TOKENS)


@pytest.mark.parametrize(("width", "heads"), [(64, 2), (16, 2), (48, 1)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_fused_steps_are_the_plain_ones_in_one_pass(architecture: Architecture, width: int, heads: int) -> None:
    """Sums differ in their last bits, and now and then a code by one."""
    narrow = NarrowGenerator(model(architecture, width, heads), "int8")
    trunk, step = plain(narrow)
    context = contexts(9)
    state, expected = narrow.encode(context), trunk.encode(context)
    for part, other in zip(state.parts(), expected.parts(), strict=True):
        found, wanted = part.tensor.float(), other.tensor.float()
        if part.context == 2:  # what stands at padding means nothing
            real = (context != PAD)[:, None, :, None]
            found, wanted = found * real, wanted * real
        assert (found - wanted).norm() <= 0.02 * wanted.norm()
    rng = torch.Generator().manual_seed(1)
    tokens = torch.full((9,), START)
    for _ in range(REPLY_TOKENS):
        logits, state = narrow.step(state, tokens)
        wanted, expected = step(expected, tokens)
        assert (logits - wanted).norm() <= 0.02 * (wanted - wanted.mean(1, keepdim=True)).norm()
        tokens = torch.randint(4, VOCABULARY, (9,), generator=rng)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_a_lane_is_the_same_to_the_bit_whoever_stands_beside_it(architecture: Architecture) -> None:
    narrow = NarrowGenerator(model(architecture), "int8")
    context = contexts(40)
    crowd, alone = narrow.encode(context), [narrow.encode(context[row : row + 1]) for row in range(40)]
    tokens = torch.full((40,), START)
    for position in range(REPLY_TOKENS):
        logits, crowd = narrow.step(crowd, tokens)
        for row in range(40):
            own, alone[row] = narrow.step(alone[row], tokens[row : row + 1])
            assert torch.equal(own[0], logits[row])
        tokens = (tokens * 7 + position + torch.arange(40)) % (VOCABULARY - 4) + 4


@torch.inference_mode()
def test_a_product_comes_out_the_same_here_and_in_the_library() -> None:
    for outputs, inputs in ((200, 256), (64, 48), (33, 2048), (1, 1)):
        layer = Int8Linear(torch.randn(outputs, inputs) * torch.logspace(-3, 3, outputs)[:, None], None)
        product = Product(layer)
        for count in (1, 2, 7, 65):
            rows = Rows(1, inputs)
            rows.take(count)
            codes = rows.codes(inputs)
            codes.random_(1, 256)
            codes[0] = 255  # the greatest sum there is
            assert product(rows)[:count].equal(layer.packed.multiply(codes[:count].clone()))


def test_products_are_of_few_shapes_and_little_is_wasted() -> None:
    counts = range(1, 1025)
    rows = Rows(8, 8)
    shapes = []
    for count in counts:
        rows.take(count)
        shapes.append(len(rows.codes(8)))
    assert all(count <= shape <= max(count + 3, count * 9 / 8) for count, shape in zip(counts, shapes, strict=True))
    assert len(set(shapes)) < 60


@pytest.mark.parametrize(
    ("loop", "exact", "error"),
    [
        (arithmetic.exponential, torch.exp, 6e-6),
        (arithmetic.sigmoid, torch.sigmoid, 1e-6),
        (arithmetic.hyperbolic_tangent, torch.tanh, 1e-6),
        (arithmetic.gelu, torch.nn.functional.gelu, 3e-6),
    ],
)
def test_functions_are_close_to_the_exact_ones(
    loop: Callable[[float], float], exact: Callable[[Tensor], Tensor], error: float
) -> None:
    x = torch.cat((torch.linspace(-86, 86, 20_001), torch.linspace(-3, 3, 20_001), torch.tensor([0.0])))
    out = torch.empty_like(x)

    @compiled
    def apply(x_: int, out_: int, count: int) -> None:
        x, out = array(x_, count, np.float32), array(out_, count, np.float32)
        for i in range(count):
            out[i] = loop(x[i])

    apply(x.data_ptr(), out.data_ptr(), len(x))
    wanted = exact(x.double())
    assert ((out - wanted).abs() / wanted.abs().clamp(min=1)).max() < error
    beyond = torch.tensor([-1e30, 1e30, float("nan")])
    apply(beyond.data_ptr(), out.data_ptr(), 3)
    torch.testing.assert_close(out[:1], exact(beyond[:1]), atol=1e-6, rtol=0)
    assert out[2].isnan()


def settings(kind: int) -> list[Decoding]:
    return [
        Decoding(
            temperature=(1.0, 0.7, 0.0, 2.0, 0.05)[row % 5],
            top_p=(1.0, 0.9, 0.5, 0.01)[row % 4],
            top_k=(0, 0, 3)[row % 3] if kind else 0,
        )
        for row in range(60)
    ]


@pytest.mark.parametrize("size", [4, 40, 64, 1000, 8000])
@pytest.mark.parametrize("kind", [0, 1])
def test_tokens_are_drawn_as_without_fusing(size: int, kind: int) -> None:
    torch.manual_seed(size)
    for sharpness in (0.01, 1.0, 4.0):
        lanes = Lanes(settings(kind), torch.randint(0, 2**53, (60,)), 20)
        logits = torch.randn(60, size) * sharpness
        logits[:, :2] = -torch.inf
        logits[::7, 2:-1] = -torch.inf  # one way on is left
        position = torch.randint(0, 20, (60,))
        drawn = drawing.draw(lanes, logits, position)
        assert drawn.equal(lanes.draw(logits, position))
        assert logits.gather(1, drawn[:, None]).isfinite().all()


def test_a_small_nucleus_of_a_flat_distribution_is_sorted_out() -> None:
    lanes = Lanes([Decoding(temperature=1.0, top_p=1e-6)] * 50, torch.arange(50), 20)
    logits = torch.arange(1000.0).expand(50, -1) * 1e-4
    drawn = drawing.draw(lanes, logits, torch.zeros(50, dtype=torch.long))
    assert (drawn == 999).all()


def test_a_cold_draw_is_the_likeliest_even_where_all_are_below_zero() -> None:
    lanes = Lanes([Decoding(temperature=GREEDY / 2)] * 2, torch.arange(2), 20)
    logits = torch.tensor([[-3.0, -2.0, -5.0], [-torch.inf, -9.0, -1e-30]])
    assert drawing.draw(lanes, logits, torch.zeros(2, dtype=torch.long)).tolist() == [1, 2]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_what_is_not_in_the_vocabulary_or_beyond_the_reply_is_refused(architecture: Architecture) -> None:
    narrow = NarrowGenerator(model(architecture), "int8")
    with pytest.raises(IndexError, match="1 tokens are not in the vocabulary"):
        narrow.encode(torch.tensor([[5, VOCABULARY, TURN]]))
    state = narrow.encode(contexts(2))
    for token in (-1, VOCABULARY):
        with pytest.raises(IndexError, match="1 of 2 tokens"):
            narrow.step(state, torch.tensor([5, token]))
    if architecture == "transformer":
        for _ in range(REPLY_TOKENS):
            _, state = narrow.step(state, torch.tensor([5, 6]))
        with pytest.raises(IndexError, match="beyond the longest reply"):
            narrow.step(state, torch.tensor([5, 6]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_numbers_that_are_none_are_not_hidden(architecture: Architecture) -> None:
    """The engine fails the reply whose logits are no numbers; whole numbers must not make some of them."""
    made = model(architecture)
    made.trunk.embedding.weight[7] = float("nan")
    trunk = NarrowGenerator(made, "int8")
    state = trunk.encode(contexts(2))
    logits, state = trunk.step(state, torch.tensor([7, 8]))
    assert logits[0].isnan().all()
    logits, _ = trunk.step(state, torch.tensor([9, 9]))
    assert logits[0].isnan().all()


def test_the_engine_writes_the_same_with_and_without_the_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = model("recurrent")

    def replies() -> list[tuple[int, ...]]:
        engine = Engine(exact, CONTEXT_TOKENS, 4)
        decoding = with_limit(Decoding(temperature=1.0, top_p=0.9), REPLY_TOKENS)
        for key in range(10):
            engine.submit(Work(key, [5 + key, TURN], decoding, [key]))
        found = {}
        while engine.busy:
            found.update({one.key: one.tokens for one in engine.step().finished})
        return [found[key] for key in range(10)]

    with_compiler = replies()
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it is an ImportError from now on
    package._can_be_compiled.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert fused_draw(torch.device("cpu")) is Lanes.draw
        assert isinstance(NarrowGenerator(exact, "int8")._step, TracedStep)
        assert replies() == with_compiler
    assert "numba cannot be had" in caplog.text
    package._can_be_compiled.cache_clear()


def test_where_no_folder_can_be_written_loops_are_compiled_all_the_same() -> None:
    space: dict[str, Callable[[int], int]] = {}
    exec("def double(x):\n    return 2 * x", space)  # no file, and so no place to keep what was compiled
    assert compiled(space["double"])(21) == 42
