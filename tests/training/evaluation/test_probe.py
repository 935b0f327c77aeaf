"""The probe: what is measured of a generator on held-out pairs, always the same ones and with the same seeds."""

import math

import pytest
import torch

from chatbot.tokenizer import PAD, TURN, Tokenizer
from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    DATA,
    VOCABULARY,
    Architecture,
    batch_of,
    copy_task,
    generator,
    sampled,
    split_of,
    twin,
)
from training.errors import RunError
from training.evaluation.probe import ProbeSet, decode_turns, held_out_nll, make_probe_set, measure, shown, words
from training.losses import kl_estimate, reply_mask, token_log_probabilities


@pytest.fixture
def probe() -> ProbeSet:
    return make_probe_set(split_of([*copy_task(), ([3], [4])]), DATA, 1000, 16, CPU)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nll_is_the_mean_over_all_tokens_however_the_pairs_are_batched(architecture: Architecture) -> None:
    model = generator(architecture)
    pairs = [([3, 4], [5]), ([6], [7, 8, 3]), ([5, 5], [4, 4])]
    total = count = 0.0
    for pair in pairs:
        batch = batch_of([pair])
        logits = torch.log_softmax(model.score(model.encode(batch.context), batch.reply)[0].detach(), dim=-1)
        total -= float(logits.gather(1, batch.reply[0][:, None]).sum())
        count += batch.reply.shape[1]
    found = held_out_nll(model, [batch_of(pairs[:2]), batch_of(pairs[2:])])
    assert found == pytest.approx(total / count, rel=1e-5)


def test_nll_of_a_model_that_knows_nothing_is_that_of_a_uniform_choice(probe: ProbeSet) -> None:
    model = generator()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert held_out_nll(model, probe.scored) == pytest.approx(math.log(VOCABULARY), rel=1e-5)


def test_measuring_is_the_same_every_time_and_leaves_dropout_out(probe: ProbeSet) -> None:
    model = generator(dropout=0.5).train()
    one, two = (measure(model.train(), probe, "fp32", None) for _ in range(2))
    assert one[0] == two[0]
    assert torch.equal(one[1].tokens, two[1].tokens)


def test_kl_is_to_the_reference_along_the_generators_own_samples(probe: ProbeSet) -> None:
    model, reference = generator(seed=1).eval(), generator(seed=2).eval()
    found, replies = measure(model, probe, "fp32", reference)
    own, other = (
        token_log_probabilities(m, m.encode(probe.answered.context), replies.tokens) for m in (model, reference)
    )
    assert found.kl == pytest.approx(float(kl_estimate(own, other, reply_mask(replies.tokens)).detach()), rel=1e-5)
    assert found.kl > 0.01
    assert measure(model, probe, "fp32", twin(model).eval())[0].kl == pytest.approx(0, abs=1e-6)
    assert measure(model, probe, "fp32", None)[0].kl == 0


def test_the_measures_are_those_of_the_replies(probe: ProbeSet) -> None:
    found, replies = measure(generator(), probe, "fp32", None)
    rows = words(replies.tokens)
    assert found.mean_length == pytest.approx(sum(map(int, replies.lengths)) / len(rows))
    most = max(rows.count(row) for row in rows)
    assert found.top_reply_share == pytest.approx(most / len(rows))
    assert 0 < found.entropy < math.log(VOCABULARY)
    assert 0 < found.distinct_1 <= 1


def test_a_generator_that_says_nothing_is_measured_and_not_a_crash(probe: ProbeSet) -> None:
    model = generator()
    with torch.no_grad():
        model.bias[TURN] = 1000.0
    found, _ = measure(model, probe, "fp32", None)
    assert (found.distinct_1, found.distinct_2, found.mean_length, found.top_reply_share) == (0.0, 0.0, 1.0, 1.0)


def test_the_probe_is_spread_over_the_split_and_holds_no_more_than_there_is() -> None:
    split = split_of([([3 + i % 6], [3 + i // 6]) for i in range(30)])
    small = make_probe_set(split, DATA, 10, 4, CPU)
    assert sum(map(len, small.scored)) == 10
    assert small.answered.reply[:, 0].tolist() == [3, 4, 6, 7]  # pairs 0, 9, 19 and 29
    everything = make_probe_set(split, DATA, 1000, 1000, CPU)
    assert (sum(map(len, everything.scored)), len(everything.answered)) == (30, 30)
    assert small.human_length == 2.0


def test_an_empty_split_cannot_be_probed() -> None:
    with pytest.raises(RunError, match="no validation pairs"):
        make_probe_set(split_of([]), DATA, 10, 10, CPU)


def test_replies_are_shown_as_text(probe: ProbeSet) -> None:
    tokenizer = Tokenizer.train(["hello there", "good morning"], 300)
    texts = [tokenizer.encode(text) for text in ("hello", "there", "good")]
    batch = batch_of([([*texts[0], TURN, *texts[1]], texts[2]), ([*texts[1]], texts[0])])
    made = ProbeSet([], batch, torch.arange(2))
    replies = sampled([[*texts[1], TURN], [*texts[2], *texts[2]]])
    assert shown(made, replies, tokenizer, 1) == [{"context": "hello / there", "human": "good", "generator": "there"}]
    assert len(shown(made, replies, tokenizer, 8)) == 2
    assert shown(made, replies, tokenizer, 0) == []
    assert decode_turns(tokenizer, [TURN, *texts[0], TURN, PAD, PAD]) == "hello"
    assert words(replies.tokens) == [texts[1], texts[2] * 2]
