"""Narrow weights: close to the exact ones, and blind to the neighbours."""

import pytest
import torch
from torch import nn

from chatbot.decoding import Decoding
from chatbot.engine.engine import Engine, Work
from chatbot.engine.precision import (
    FARTHEST,
    BFloat16Linear,
    Int8Linear,
    NarrowGenerator,
    NarrowGRU,
    Precision,
    choose_precision,
    divergence,
    step_seconds,
)
from chatbot.errors import RejoinderError
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, TrunkConfig
from chatbot.request import with_limit
from chatbot.tokenizer import TURN
from tests.chatbot.tiny import ARCHITECTURES, CONTEXT_TOKENS, generator, table_generator

NARROW: tuple[Precision, ...] = ("int8", "bf16")


def small(architecture: Architecture) -> Seq2SeqGenerator:
    """Return a generator wide enough for its errors to be those of real ones."""
    torch.manual_seed(1)
    shape = TrunkConfig(architecture, 64, encoder_layers=1, decoder_layers=2, heads=1, feedforward=128, dropout=0.0)
    model = Seq2SeqGenerator(shape, 500, CONTEXT_TOKENS, 12).eval()
    with torch.no_grad():
        model.bias.normal_()
    return model


@pytest.mark.parametrize(("kind", "error"), [(Int8Linear, 0.02), (BFloat16Linear, 0.01)])
def test_a_narrow_layer_is_close_to_the_exact_one(kind: type[nn.Module], error: float) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 40)
    x = torch.randn(5, 2, 96) * torch.logspace(-3, 3, 5)[:, None, None]  # each row has a size of its own
    with torch.inference_mode():
        exact, found = layer(x) - layer.bias, kind(layer.weight.detach(), layer.bias.detach())(x) - layer.bias
    assert found.shape == exact.shape
    assert ((found - exact).norm(dim=-1) / exact.norm(dim=-1) < error).all() or kind is BFloat16Linear
    assert (found - exact).norm() / exact.norm() < error


@torch.inference_mode()
def test_an_int8_row_is_the_same_to_the_bit_whoever_stands_beside_it() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(torch.randn(200, 256), torch.randn(200))
    x = torch.randn(64, 256)
    x[1::2] *= 1000.0  # with one scale for all, these would wipe their neighbours out
    together = layer(x)
    for rows in (1, 2, 3, 8, 17, 64):
        assert torch.equal(layer(x[:rows]), together[:rows])


@torch.inference_mode()
def test_the_narrow_gru_computes_what_the_gru_computes() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(12, 12, batch_first=True)
    x, carried = torch.randn(3, 4, 12), torch.randn(1, 3, 12)
    exact = NarrowGRU(gru, lambda weight, bias: _linear(weight, bias))
    for given in ((x, carried), (x,)):
        for found, expected in zip(exact(*given), gru(*given), strict=True):
            torch.testing.assert_close(found, expected)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("precision", NARROW)
def test_a_narrow_generator_says_nearly_the_same_and_the_exact_one_is_left_alone(
    architecture: Architecture, precision: Precision
) -> None:
    model = small(architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    strayed = divergence(model, NarrowGenerator(model, precision), CONTEXT_TOKENS)
    assert 0 < strayed < FARTHEST
    assert divergence(model, model, CONTEXT_TOKENS) == pytest.approx(0, abs=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replies_on_int8_do_not_depend_on_who_else_is_there(architecture: Architecture) -> None:
    """The law, on the fast path: 200 seeded replies, each alone and all among each other, not one of them different."""
    model = NarrowGenerator(small(architecture), "int8")
    decoding = with_limit(Decoding(temperature=1.0, top_p=0.9), 12)
    rng = torch.Generator().manual_seed(0)
    work = [
        Work(key, [*torch.randint(3, 500, (1 + key % 20,), generator=rng).tolist(), TURN], decoding, [key])
        for key in range(200)
    ]
    alone, crowd = Engine(model, CONTEXT_TOKENS, lanes=1), Engine(model, CONTEXT_TOKENS, lanes=64)
    for one in work:
        alone.submit(one)
        crowd.submit(one)
    replies = []
    for engine in (alone, crowd):
        found = {}
        while engine.busy:
            found.update({finished.key: finished.tokens for finished in engine.step().finished})
        replies.append(found)
    assert len(set(replies[0].values())) > 100
    assert replies[0] == replies[1]


def test_what_is_not_worth_it_stays_exact() -> None:
    model = generator("transformer")
    assert choose_precision(model, CONTEXT_TOKENS, "cpu", "auto") == (model, "fp32")
    assert choose_precision(model, CONTEXT_TOKENS, "cpu", "fp32") == (model, "fp32")
    assert step_seconds(model) > 0


@pytest.mark.parametrize("precision", NARROW)
def test_a_precision_that_was_asked_for_is_had(precision: Precision) -> None:
    narrow, had = choose_precision(small("recurrent"), CONTEXT_TOKENS, "cpu", precision)
    assert (type(narrow), had) == (NarrowGenerator, precision)


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(RejoinderError, match="expected auto, fp32, bf16, int8"):
        choose_precision(small("recurrent"), CONTEXT_TOKENS, "cpu", "int4")
    with pytest.raises(RejoinderError, match="is for CPUs"):
        choose_precision(table_generator(), 1, "cpu", "int8")
    assert choose_precision(table_generator(), 1, "cpu", "auto")[1] == "fp32"


def test_a_precision_that_strays_too_far_is_refused_and_never_chosen() -> None:
    model = small("transformer")
    with torch.no_grad():
        # An outlier that says nothing, as large models have them: beside it all else is rounded to nothing.
        model.trunk.decoder_norm.bias[0] = 3000.0
        model.trunk.embedding.weight[:, 0] = 0.0
    assert divergence(model, NarrowGenerator(model, "int8"), CONTEXT_TOKENS) > FARTHEST
    with pytest.raises(RejoinderError, match="strays"):
        choose_precision(model, CONTEXT_TOKENS, "cpu", "int8")


def test_a_precision_that_this_build_of_torch_has_not_is_refused_and_never_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_kernel(*_: object) -> float:
        raise RuntimeError("Didn't find engine for operation quantized::linear_prepack NoQEngine")

    monkeypatch.setattr("chatbot.engine.precision.divergence", without_kernel)
    model = small("recurrent")
    with pytest.raises(RejoinderError, match="precision int8 cannot be had here: Didn't find engine"):
        choose_precision(model, CONTEXT_TOKENS, "cpu", "int8")
    assert choose_precision(model, CONTEXT_TOKENS, "cpu", "auto") == (model, "fp32")
