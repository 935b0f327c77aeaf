"""The laws of the `Generator` interface, held against every architecture."""

import pytest
import torch
from torch import Tensor

from chatbot.bundle import AnyGenerator
from chatbot.generator.interface import State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import MARKED_TURNS, Architecture, TrunkConfig
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.pretrained import MAKES, pretrained
from tests.chatbot.tiny import ARCHITECTURES, CONTEXT_TOKENS, REPLY_TOKENS, VOCABULARY, generator, padded

CONTEXTS = [[5, 6, 7, TURN, 8, TURN], [9, TURN], [TURN], [4, 5, 6, 7, 8, 9, 10, TURN, 11, 12, TURN]]
REPLIES = [[20, 21, 22, 23, 24, TURN], [25, 26, TURN], [27, 28, 29, 30, TURN], [TURN]]


@pytest.fixture(params=[*ARCHITECTURES, *MAKES])
def model(request: pytest.FixtureRequest) -> AnyGenerator:
    """Return a generator of each architecture, and pretrained ones around each make of language model."""
    return pretrained(request.param) if request.param in MAKES else generator(request.param)


@pytest.fixture
def own(architecture: Architecture) -> Seq2SeqGenerator:
    return generator(architecture)


def walk(model: AnyGenerator, state: State, reply: Tensor) -> tuple[Tensor, State]:
    """Return the logits [B, T, V] of stepping through `reply` [B, T], and the state before its last token."""
    logits = []
    previous = torch.full_like(reply[:, 0], START)
    for t in range(reply.shape[1]):
        step, state = model.step(state, previous)
        logits.append(step)
        previous = reply[:, t]
    return torch.stack(logits, dim=1), state


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_stepping_gives_the_logits_of_teacher_forcing(model: AnyGenerator) -> None:
    reply = torch.randint(3, VOCABULARY, (4, REPLY_TOKENS), generator=torch.Generator().manual_seed(1))
    context = padded(CONTEXTS)
    logits = model.score(model.encode(context), reply)
    stepped, _ = walk(model, model.encode(context), reply)

    assert logits.shape == (4, REPLY_TOKENS, VOCABULARY)
    assert stepped.dtype == torch.float32
    assert_close(stepped, logits)
    assert logits.std(dim=(0, 1)).max() > 0.1, "the model says the same whatever it reads, and the test shows nothing"


@torch.no_grad()
def test_score_is_the_projection_of_hidden(model: AnyGenerator) -> None:
    state, reply = model.encode(padded(CONTEXTS)), padded(REPLIES)

    assert torch.equal(model.project(model.hidden(state, reply)), model.score(state, reply))


@torch.no_grad()
def test_select_repeats_drops_and_reorders_lanes(model: AnyGenerator) -> None:
    lanes = torch.tensor([2, 0, 0, 3, 2])
    reply = torch.randint(3, VOCABULARY, (4, 6), generator=torch.Generator().manual_seed(2))
    state = model.encode(padded(CONTEXTS))
    whole = model.score(state, reply)
    chosen = state.select(lanes)

    assert_close(model.score(chosen, reply[lanes]), whole[lanes])
    _, halfway = walk(model, model.encode(padded(CONTEXTS)), reply[:, :3])
    following, _ = model.step(halfway.select(lanes), reply[lanes, 2])
    assert_close(following, whole[lanes, 3])


@torch.no_grad()
def test_copies_of_a_lane_go_different_ways(model: AnyGenerator) -> None:
    """A cache written in place must not leak into the lane it was copied from, nor into its other copies."""
    context, begun = padded(CONTEXTS[:1]), torch.tensor([[20, 21, 22]])
    ways = torch.tensor([[20, 21, 22, 30, 31, 32], [20, 21, 22, 33, 34, 35], [20, 21, 22, 36, 37, 38]])
    expected = model.score(model.encode(context).select(torch.zeros(3, dtype=torch.long)), ways)
    _, state = walk(model, model.encode(context), begun)
    copies = [state.select(torch.tensor([0])) for _ in range(3)]
    found: list[list[Tensor]] = [[], [], []]
    for t in range(2, 5):  # one step of each in turn, so that a shared cache would be overwritten
        for i in range(3):
            logits, copies[i] = model.step(copies[i], ways[i : i + 1, t])
            found[i].append(logits[0])
    logits, _ = model.step(state, ways[:1, 2])

    for i in range(3):
        assert_close(torch.stack(found[i]), expected[i, 3:])
    assert_close(logits[0], expected[0, 3])


@torch.no_grad()
def test_a_new_reply_can_be_begun_twice_from_one_encoded_context(model: AnyGenerator) -> None:
    state = model.encode(padded(CONTEXTS))
    one, two = torch.full((4, 5), 20), torch.full((4, 5), 30)
    first, _ = walk(model, state, one)
    second, _ = walk(model, state, two)

    assert_close(first, model.score(state, one))
    assert_close(second, model.score(state, two))


@torch.no_grad()
def test_padding_of_a_context_changes_nothing(model: AnyGenerator) -> None:
    reply = padded(REPLIES)
    together = model.score(model.encode(padded(CONTEXTS, width=CONTEXT_TOKENS)), reply)

    for i, context in enumerate(CONTEXTS):
        alone = model.score(model.encode(torch.tensor([context])), reply[i : i + 1])
        assert_close(together[i : i + 1], alone)
        stepped, _ = walk(model, model.encode(padded([context], width=13)), reply[i : i + 1])
        assert_close(stepped, alone)


@torch.no_grad()
def test_padding_of_a_reply_changes_nothing(model: AnyGenerator) -> None:
    context = padded(CONTEXTS)
    together = model.score(model.encode(context), padded(REPLIES, width=REPLY_TOKENS))

    for i, reply in enumerate(REPLIES):
        alone = model.score(model.encode(context[i : i + 1]), torch.tensor([reply]))
        assert_close(together[i : i + 1, : len(reply)], alone)


@torch.no_grad()
@pytest.mark.parametrize("t", range(REPLY_TOKENS))
def test_no_logits_depend_on_their_own_or_a_later_token(model: AnyGenerator, t: int) -> None:
    reply = torch.randint(3, VOCABULARY, (1, REPLY_TOKENS), generator=torch.Generator().manual_seed(3))
    other = reply.clone()
    other[:, t:] = (other[:, t:] - 3 + 11) % (VOCABULARY - 3) + 3
    state = model.encode(padded(CONTEXTS[:1]))
    a, b = model.score(state, reply), model.score(state, other)

    assert_close(a[:, : t + 1], b[:, : t + 1])
    if t + 1 < REPLY_TOKENS:
        assert not torch.allclose(a[:, t + 1], b[:, t + 1], atol=1e-3)


@torch.no_grad()
def test_what_stands_behind_the_end_token_changes_nothing_before(model: AnyGenerator) -> None:
    state = model.encode(padded(CONTEXTS[:1]))
    ended = model.score(state, torch.tensor([[20, 21, TURN, PAD, PAD, PAD]]))
    rubbish = model.score(state, torch.tensor([[20, 21, TURN, 39, START, TURN]]))

    assert_close(ended[:, :3], rubbish[:, :3])


@pytest.mark.parametrize("layers", [1, 2])
def test_every_parameter_learns_from_the_score(architecture: Architecture, layers: int) -> None:
    torch.manual_seed(0)
    config = TrunkConfig(architecture, 16, layers, layers, 2, 24, dropout=0.0)
    model = Seq2SeqGenerator(config, VOCABULARY, CONTEXT_TOKENS, REPLY_TOKENS)
    reply = padded(REPLIES)
    logits = model.score(model.encode(padded(CONTEXTS)), reply)
    logits.log_softmax(-1).gather(2, reply[..., None])[reply != PAD].sum().backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.abs().sum() > 1e-7, f"{name} has a gradient of nothing"
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_every_context_token_matters_and_so_does_their_order(model: AnyGenerator) -> None:
    context = torch.tensor([[5, 6, TURN, 7, 8, TURN]])
    reply = torch.tensor([[20, 21]])
    before = model.score(model.encode(context), reply)
    for changed in ([9, 6, TURN, 7, 8, TURN], [5, 6, TURN, 7, 9, TURN], [5, 6, TURN, 8, 7, TURN]):
        after = model.score(model.encode(torch.tensor([changed])), reply)
        assert (after - before).abs().max() > 1e-3


@torch.no_grad()
def test_turns_are_marked_from_the_end_of_the_context(own: Seq2SeqGenerator) -> None:
    """The marks of the turns that are left are the same when older ones are cut off."""
    long = torch.tensor([[4, 5, TURN, 6, TURN, 7, 8, TURN]])
    short = long[:, 3:]
    trunk = own.trunk

    assert_close(trunk.embed_context(long)[:, 3:], trunk.embed_context(short))
    marks = trunk.embed_context(long) - trunk.embed(long)
    assert_close(marks[0], trunk.turn_marks(torch.tensor([2, 2, 2, 1, 1, 0, 0, 0])))
    padding = trunk.embed_context(padded([[7, 8, TURN]], width=6))
    assert_close(padding[0, :3], trunk.embed_context(torch.tensor([[7, 8, TURN]]))[0])


@torch.no_grad()
def test_turns_far_back_share_the_last_mark(own: Seq2SeqGenerator) -> None:
    turns = torch.full((1, MARKED_TURNS + 4), TURN)
    marks = own.trunk.embed_context(turns) - own.trunk.embed(turns)

    assert_close(marks[0, :5], own.trunk.turn_marks.weight[-1].expand(5, -1))
    assert_close(marks[0, -1], own.trunk.turn_marks.weight[0])


@torch.no_grad()
@pytest.mark.parametrize("context", [[TURN], [7], [PAD + 3] * CONTEXT_TOKENS])
def test_the_shortest_and_the_longest_contexts_give_finite_logits(model: AnyGenerator, context: list[int]) -> None:
    reply = torch.full((1, REPLY_TOKENS), 5)

    assert model.score(model.encode(torch.tensor([context])), reply).isfinite().all()
    assert walk(model, model.encode(padded([context], CONTEXT_TOKENS)), reply)[0].isfinite().all()


def test_a_width_that_heads_do_not_divide_is_refused(architecture: Architecture) -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        Seq2SeqGenerator(TrunkConfig(architecture, width=10, heads=4), VOCABULARY, 8, 8)
