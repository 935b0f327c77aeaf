"""Narrow weights: close to the exact ones, and blind to the neighbours."""

import pytest
import torch
from torch import nn

from chatbot.decoding import Decoding
from chatbot.engine.engine import Engine, Work
from chatbot.engine.int8 import Int8Linear
from chatbot.engine.narrow import BFloat16Linear, NarrowGenerator, NarrowGRU, NarrowPretrained, Precision, narrowed
from chatbot.engine.precision import FARTHEST, choose_precision, divergence, step_seconds
from chatbot.errors import RejoinderError
from chatbot.generator.interface import Generator
from chatbot.generator.pretrained import Adapters
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, TrunkConfig
from chatbot.request import with_limit
from chatbot.tokenizer import START, TURN
from tests.chatbot.pretrained import SMALL, Make, pretrained
from tests.chatbot.tiny import ARCHITECTURES, CONTEXT_TOKENS, generator, padded, table_generator

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


@pytest.mark.parametrize("kind", [Int8Linear, BFloat16Linear])
@torch.inference_mode()
def test_a_narrow_row_is_the_same_to_the_bit_whoever_stands_beside_it(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    for inputs, outputs in ((256, 200), (1536, 576), (2048, 256), (64, 500)):
        layer = kind(torch.randn(outputs, inputs), torch.randn(outputs))
        x = torch.randn(64, inputs)
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


def replies(model: Generator, lanes: int) -> dict[int, tuple[int, ...]]:
    """Return 200 seeded replies to contexts of all lengths."""
    decoding = with_limit(Decoding(temperature=1.0, top_p=0.9), 12)
    rng = torch.Generator().manual_seed(0)
    engine = Engine(model, CONTEXT_TOKENS, lanes)
    for key in range(200):
        context = [*torch.randint(3, 500, (1 + key % 20,), generator=rng).tolist(), TURN]
        engine.submit(Work(key, context, decoding, [key]))
    found = {}
    while engine.busy:
        step = engine.step()
        assert not step.failed
        found.update({finished.key: finished.tokens for finished in step.finished})
    return found


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replies_on_narrow_weights_do_not_depend_on_who_else_is_there(
    architecture: Architecture, precision: Precision
) -> None:
    """The law, on the fast path: 200 seeded replies, each alone and all among each other, not one of them different."""
    model = NarrowGenerator(small(architecture), precision)
    alone, crowd = replies(model, 1), replies(model, 64)
    assert len(set(alone.values())) > 100
    assert alone == crowd


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("adapters", [SMALL, None])
@pytest.mark.parametrize("make", ["llama", "gpt2"])
def test_a_narrow_language_model_says_nearly_the_same_whoever_else_is_there(
    make: Make, adapters: Adapters | None, precision: Precision
) -> None:
    exact = pretrained(make, adapters, tokens=500)
    before = {name: value.clone() for name, value in exact.trunk.network.state_dict().items()}
    narrow = narrowed(exact, precision)
    assert 0 < divergence(exact, narrow, CONTEXT_TOKENS) < (0.5 if precision == "int8" else 0.05)  # of wild weights
    alone, crowd = replies(narrow, 1), replies(narrow, 64)
    assert len(set(alone.values())) > 100
    assert alone == crowd
    assert all(torch.equal(value, before[name]) for name, value in exact.trunk.network.state_dict().items())
    context, reply = padded([[50, 51, TURN], [60] * 20 + [TURN]]), padded([[70, 71, TURN], [72, TURN]])
    with torch.inference_mode():  # a reply as a whole, for who asks for its likelihood, and token by token
        whole = narrow.score(narrow.encode(context), reply)
        logits, _ = narrow.step(narrow.encode(context), torch.full((2,), START))
    torch.testing.assert_close(whole[:, 0], logits, atol=0.1 * float(logits[:, 3:].std()), rtol=0)


def test_what_is_not_worth_it_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.engine.precision._WORTHWHILE", 1e9)
    model = generator("transformer")
    assert choose_precision(model, CONTEXT_TOKENS, "cpu", "auto") == (model, "fp32")
    assert choose_precision(model, CONTEXT_TOKENS, "cpu", "fp32") == (model, "fp32")
    assert step_seconds(model) > 0


@pytest.mark.parametrize("precision", NARROW)
def test_a_precision_that_was_asked_for_is_had(precision: Precision) -> None:
    narrow, had = choose_precision(small("recurrent"), CONTEXT_TOKENS, "cpu", precision)
    assert (type(narrow), had) == (NarrowGenerator, precision)


def test_a_causal_language_model_is_narrowed_where_it_was_asked_for() -> None:
    narrow, had = choose_precision(pretrained("gpt2", tokens=500, stirred=False), CONTEXT_TOKENS, "cpu", "bf16")
    assert (type(narrow), had) == (NarrowPretrained, "bf16")


def test_a_language_model_is_not_tried_in_8_bits_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def noted(generator: Generator, precision: Precision) -> Generator:
        tried.append(precision)
        return narrowed(generator, precision)

    monkeypatch.setattr("chatbot.engine.precision.narrowed", noted)
    choose_precision(pretrained("llama", tokens=500), CONTEXT_TOKENS, "cpu", "auto")
    choose_precision(small("recurrent"), CONTEXT_TOKENS, "cpu", "auto")
    assert tried == ["bf16", "int8", "bf16"]


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(RejoinderError, match="expected auto, fp32, bf16, int8"):
        choose_precision(small("recurrent"), CONTEXT_TOKENS, "cpu", "int4")
    with pytest.raises(RejoinderError, match="is for CPUs"):
        choose_precision(small("recurrent"), 1, "cuda", "int8")
    for other in (table_generator(), pretrained("bart")):
        with pytest.raises(RejoinderError, match="is for generators of our own and causal language models of 32 bits"):
            choose_precision(other, 1, "cpu", "int8")
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
