"""What is played back is what would have been computed, to the bit."""

import pytest
import torch
from torch import Tensor

from chatbot.engine.narrow import NarrowGenerator
from chatbot.engine.room import Room
from chatbot.engine.traced import TracedStep
from chatbot.generator.interface import State
from chatbot.generator.trunk import Architecture
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.tiny import ARCHITECTURES, CONTEXT_TOKENS, generator

CPU = torch.device("cpu")


def occupied(model: NarrowGenerator, lanes: int, tokens: int) -> Room:
    room = Room.build(model, 8, CONTEXT_TOKENS, CPU)
    rng = torch.Generator().manual_seed(lanes)
    context = torch.full((lanes, -(-tokens // 16) * 16), PAD)
    context[:, :tokens] = torch.randint(3, 30, (lanes, tokens), generator=rng)
    context[:, tokens - 1] = TURN
    room.place(list(range(lanes)), model._trunk.encode(context), torch.arange(lanes))
    return room


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_a_recorded_step_gives_the_same_bits_again_and_again(architecture: Architecture) -> None:
    model = NarrowGenerator(generator(architecture), "bf16")
    for lanes, tokens in ((1, 16), (3, 16), (3, 20), (8, 16)):
        plain, played = occupied(model, lanes, tokens), occupied(model, lanes, tokens)
        fed = [torch.full((lanes,), START)]
        for position in range(6):
            expected, state = model._plain_step(plain.view(lanes, position + 1), fed[-1])
            plain.keep(state, lanes)
            found, state = model.step(played.view(lanes, position + 1), fed[-1])
            played.keep(state, lanes)
            assert torch.equal(found, expected)
            fed.append(expected.argmax(dim=1).clamp(min=3))
        assert len({tuple(tokens.tolist()) for tokens in fed}) > 1
    assert len(model._step._records._by_shapes) == 4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_a_recorded_encoding_gives_the_same_bits(architecture: Architecture) -> None:
    model = NarrowGenerator(generator(architecture), "bf16")
    rng = torch.Generator().manual_seed(0)
    for rows in (1, 2, 2, 5):
        context = torch.randint(3, 30, (rows, 16), generator=rng)
        expected = model._trunk.encode(context).parts()
        for _ in range(3):
            found = model.encode(context).parts()
            assert all(torch.equal(one.tensor, other.tensor) for one, other in zip(found, expected, strict=True))


def test_what_cannot_be_recorded_is_computed(caplog: pytest.LogCaptureFixture) -> None:
    model = NarrowGenerator(generator("recurrent"), "bf16")
    calls = []

    def odd(state: State, tokens: Tensor) -> tuple[Tensor, State]:
        calls.append(len(tokens))
        raise_unless_plain = torch.jit.is_tracing()
        if raise_unless_plain:
            raise RuntimeError("this cannot be recorded")
        return model._plain_step(state, tokens)

    step = TracedStep(odd)
    with torch.inference_mode():
        state = model.encode(torch.full((2, 16), TURN))
        for _ in range(2):
            logits, state = step(state, torch.full((2,), START))
    assert logits.shape == (2, model.vocabulary_size)
    assert calls == [2, 2, 2]  # tried once, then never again
    assert "this cannot be recorded" in caplog.text


@torch.inference_mode()
def test_shapes_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.engine.traced._MOST", 2)
    model = NarrowGenerator(generator("recurrent"), "bf16")
    for rows in (1, 2, 3, 1):
        context = torch.full((rows, 16), TURN)
        found, expected = model.encode(context).parts(), model._trunk.encode(context).parts()
        assert all(torch.equal(one.tensor, other.tensor) for one, other in zip(found, expected, strict=True))
    assert len(model._encode._records._by_shapes) == 2
