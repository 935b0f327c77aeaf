"""Passages: every pair once in an epoch, and learnt as it would be by itself."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.prompt import Layout, plain_layout
from chatbot.tokenizer import PAD, TURN
from tests.chatbot.pretrained import CHAT, SMALL, Make, language_model
from tests.training.toys import CPU, generator
from training import ranks
from training.batches import Batch, make_batch
from training.config import DataConfig
from training.corpus.dataset import Split
from training.losses import token_log_probabilities
from training.passages import Passages

LIMITS = DataConfig(context_tokens=12, reply_tokens=4)


def dialogues(lengths: Sequence[Sequence[int]], untaught: int = 0, most_turns: int = 4) -> Split:
    """Return dialogues of turns of so many words, all different; every turn but the first is taught.

    Of `untaught` above 0 each so many-th pair is left out, as of a speaker who is not to be imitated.
    """
    words = iter(range(3, 60_000))
    turns = [[next(words) for _ in range(length)] + [TURN] for dialogue in lengths for length in dialogue]
    bounds = np.cumsum([0, *map(len, lengths)]).astype(np.int64)
    pairs = [
        (max(start, reply - most_turns), reply) for start, end in pairwise(bounds) for reply in range(start + 1, end)
    ]
    if untaught:
        pairs = [pair for i, pair in enumerate(pairs) if i % untaught]
    return Split(
        np.array([i for turn in turns for i in turn], np.uint16),
        np.cumsum([0, *map(len, turns)]).astype(np.int64),
        bounds,
        np.array(pairs, np.int64).reshape(-1, 2),
    )


def taught(batch: Batch) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return every reply that a batch teaches with all that is read before it."""
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for context, rest, mask in zip(batch.context.tolist(), batch.reply.tolist(), batch.taught.tolist(), strict=True):
        read = [token for token in context if token != PAD]
        said: list[int] = []
        for place, (token, learnt) in enumerate(zip(rest, mask, strict=True)):
            if learnt:
                said.append(token)
            if said and (place + 1 == len(rest) or not mask[place + 1] or token == TURN):
                found[tuple(read), tuple(said)] += 1
                read, said = read + said, []
            elif not learnt and token != PAD:
                read.append(token)
    return found


TURNS = st.lists(st.lists(st.integers(1, 7), min_size=2, max_size=7), min_size=2, max_size=25)


@given(lengths=TURNS, untaught=st.integers(0, 3).filter(lambda n: n != 1), size=st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_an_epoch_teaches_every_pair_once_behind_its_own_context(
    lengths: list[list[int]], untaught: int, size: int
) -> None:
    split = dialogues(lengths, untaught)
    if len(split) < 2:
        return
    pairs = taught(make_batch(split, np.arange(len(split)), LIMITS, CPU))
    passages = Passages(split, size, LIMITS, 0, CPU)
    for _ in range(2):
        found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
        while passages.epochs < 1:
            found += taught(passages.next())
        assert found == pairs
        passages = Passages(split, size, LIMITS, 1, CPU)


def test_batches_have_about_as_many_pairs_as_asked() -> None:
    split = dialogues([[1, 2, 1, 2][: 2 + i % 3] for i in range(400)])
    passages = Passages(split, 32, LIMITS, 0, CPU)
    sizes = []
    while passages.epochs < 1:
        sizes.append(sum(taught(passages.next()).values()))
    assert sum(sizes) == len(split)
    assert min(sizes) >= 28
    assert max(sizes) <= 36


def test_ranks_share_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    split = dialogues([[1] * 5 for _ in range(12)])  # batches of eight pairs are two passages
    monkeypatch.setattr(ranks, "count", lambda: 4)
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for number in range(4):
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        passages = Passages(split, 8, LIMITS, 0, CPU)
        while passages.epochs < 1:
            own = taught(passages.next())
            assert own
            found += own
    assert found == taught(make_batch(split, np.arange(len(split)), LIMITS, CPU))


def test_taken_up_again_the_order_goes_on() -> None:
    split = dialogues([[1 + i % 3, 2, 1 + i % 4] for i in range(60)])
    one, two = Passages(split, 8, LIMITS, 3, CPU), Passages(split, 8, LIMITS, 3, CPU)
    for _ in range(20):
        one.next()
    two.load_state_dict(one.state_dict())
    assert two.epochs == one.epochs
    assert [taught(one.next()) for _ in range(9)] == [taught(two.next()) for _ in range(9)]


def made(make: Make, layout: Layout) -> PretrainedGenerator:
    return PretrainedGenerator(
        language_model(make, tokens=60, layout=layout), SMALL, LIMITS.context_tokens, LIMITS.reply_tokens
    )


@pytest.mark.parametrize("make", ["llama", "gpt2"])
@pytest.mark.parametrize("recompute", [False, True])
def test_loss_and_gradient_are_those_of_the_pairs_by_themselves(make: Make, recompute: bool) -> None:
    split = dialogues([[2, 1, 3, 1, 2], [1, 5, 2], [9, 2, 1], [4, 5, 1, 2]], untaught=5)
    model = made(make, plain_layout((0,), 1)).train()
    assert model.reads_on
    if recompute:
        model.trunk.let_recompute()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    found = []
    passages = Passages(split, len(split), LIMITS, 0, CPU)
    for batch in (passages.next(), make_batch(split, np.arange(len(split)), LIMITS, CPU)):
        model.zero_grad()
        logs = token_log_probabilities(model, model.encode(batch.context), batch.reply, batch.taught)
        logs.sum().backward()  # type: ignore[no-untyped-call]
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((len(batch), float(logs.detach().sum()), gradient))
    (lanes, whole, slope), (pairs, apart, expected) = found
    assert lanes < pairs
    assert passages.epochs == 1.0
    assert whole == pytest.approx(apart, rel=1e-5)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-5)


def test_only_where_nothing_is_written_between_turns_a_model_reads_on() -> None:
    assert not made("llama", CHAT).reads_on
    assert not made("bart", plain_layout((0,), 1)).reads_on
    assert not generator("transformer").reads_on
