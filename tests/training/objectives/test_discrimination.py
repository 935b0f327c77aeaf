"""D's diet: one mixed, shuffled batch with mismatched human replies among its negatives; and what D learns from it."""

import copy

import pytest
import torch

from chatbot.discriminator import Discriminator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import PAD
from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    DATA,
    Architecture,
    batch_of,
    copy_task,
    discriminator,
    generator,
    padded,
    split_of,
)
from training.batches import Batch, Batches
from training.config import DiscriminatorConfig
from training.losses import prefix_cross_entropy, reply_mask
from training.objectives.discrimination import (
    Discrimination,
    fresh_fakes,
    mix,
    one_prefix,
    pad_together,
    start_from_generator,
)

COUNT = 40


def marked(kind: int, count: int = COUNT, width: int = 3) -> torch.Tensor:
    """Return rows of ids that say what they are: kind, then their number."""
    rows = torch.full((count, width), 1)
    rows[:, 0], rows[:, 1] = kind, torch.arange(count) + 10
    return rows


HUMAN, CONTEXT, FAKE, OLD_CONTEXT, OLD = 1001, 1002, 1003, 1004, 1005


def mixed_rows(old: bool = True, count: int = COUNT) -> tuple[list[tuple[list[int], list[int], float]], torch.Tensor]:
    batch = Batch(marked(CONTEXT, count), marked(HUMAN, count))
    remembered = Batch(marked(OLD_CONTEXT, count, 5), marked(OLD, count, 4)) if old else None
    mixed = mix(batch, marked(FAKE, count, 6), remembered, DiscriminatorConfig(), torch.Generator().manual_seed(0))
    rows = zip(mixed.context[mixed.lane].tolist(), mixed.reply.tolist(), mixed.label.tolist(), strict=True)
    return list(rows), mixed.pairs


def kind_of(context: list[int], reply: list[int]) -> str:
    if reply[0] == HUMAN:
        return "human" if reply[1] == context[1] else "stranger"
    return {FAKE: "fresh", OLD: "old"}[reply[0]]


def test_the_batch_is_40_25_15_20_percent_human_fresh_old_and_strange() -> None:
    rows, _ = mixed_rows()
    kinds = [kind_of(context, reply) for context, reply, _ in rows]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert shares == {"human": 0.4, "fresh": 0.25, "old": 0.15, "stranger": 0.2}


def test_only_a_humans_reply_to_this_very_context_is_called_human() -> None:
    rows, _ = mixed_rows()
    for context, reply, label in rows:
        assert label == (pytest.approx(0.9) if kind_of(context, reply) == "human" else 0.0)


def test_nothing_is_lost_and_replies_keep_their_contexts() -> None:
    rows, _ = mixed_rows()
    human = sorted(reply[1] for context, reply, _ in rows if kind_of(context, reply) == "human")
    assert human == list(range(10, 10 + COUNT))
    for context, reply, _ in rows:
        kind = kind_of(context, reply)
        assert context[0] == (OLD_CONTEXT if kind == "old" else CONTEXT)
        if kind in ("fresh", "old"):
            assert reply[1] == context[1]
        assert reply[:3] == [reply[0], reply[1], 1]
        assert len(context) == 5
        assert len(reply) == 6
        assert reply[3:] == {"fresh": [1, 1, 1], "old": [1, PAD, PAD]}.get(kind, [PAD] * 3)


def test_pairs_name_a_human_and_a_machine_reply_to_one_context() -> None:
    rows, pairs = mixed_rows()
    assert len(pairs) == 0.625 * COUNT
    for better, worse in pairs.tolist():
        assert kind_of(*rows[better][:2]) == "human"
        assert kind_of(*rows[worse][:2]) == "fresh"
        assert rows[better][0] == rows[worse][0]


def test_whose_fakes_are_used_and_whose_replies_are_strangers_does_not_depend_on_their_place() -> None:
    """Batches are sorted: the first ones are the shortest."""
    rng, batch = torch.Generator().manual_seed(0), Batch(marked(CONTEXT), marked(HUMAN))
    used: dict[int, list[int]] = {FAKE: [], HUMAN: []}
    for _ in range(20):
        mixed = mix(batch, marked(FAKE), None, DiscriminatorConfig(), rng)
        pairs = mixed.pairs[:, 1].tolist()
        used[FAKE] += [int(mixed.reply[i, 1]) - 10 for i in pairs]
        strange = (mixed.reply[:, 0] == HUMAN) & (mixed.label == 0)
        used[HUMAN] += (mixed.reply[strange][:, 1] - 10).tolist()
    for places in used.values():
        assert abs(sum(places) / len(places) - (COUNT - 1) / 2) < 2


def test_the_order_is_shuffled_differently_each_time() -> None:
    rng = torch.Generator().manual_seed(0)
    batch = Batch(marked(CONTEXT), marked(HUMAN))
    one, two = (mix(batch, marked(FAKE), None, DiscriminatorConfig(), rng) for _ in range(2))
    assert not torch.equal(one.label, two.label)
    sides = [one.label[: len(one.label) // 2], one.label[len(one.label) // 2 :]]
    assert all(0.2 < float((side > 0).float().mean()) < 0.6 for side in sides)


def test_without_old_fakes_all_fresh_ones_are_used_once() -> None:
    rows, _ = mixed_rows(old=False)
    fresh = sorted(reply[1] for context, reply, _ in rows if kind_of(context, reply) == "fresh")
    assert fresh == list(range(10, 10 + COUNT))


def test_a_reply_that_equals_its_neighbours_is_no_stranger() -> None:
    batch = batch_of([([a], [7]) for a in range(3, 9)])
    mixed = mix(batch, batch.reply, None, DiscriminatorConfig(real_label=1.0), torch.Generator().manual_seed(0))
    assert len(mixed.label) == 12  # 6 human, 6 fresh
    assert mixed.label.sum() == 6


@pytest.mark.parametrize("count", [2, 3, 4, 5, 12, 20])
def test_small_batches_are_whole_too(count: int) -> None:
    rows, pairs = mixed_rows(count=count)
    kinds = [kind_of(context, reply) for context, reply, _ in rows]
    assert kinds.count("human") == count
    assert kinds.count("fresh") + kinds.count("old") == count
    assert kinds.count("stranger") == round(count / 2)
    assert len(pairs) == kinds.count("fresh") > 0


def test_without_contexts_no_human_reply_is_called_a_machines() -> None:
    batch = Batch(marked(CONTEXT), marked(HUMAN))
    mixed = mix(batch, marked(FAKE), None, DiscriminatorConfig(mismatched=0.0), torch.Generator().manual_seed(0))
    assert len(mixed.label) == 2 * COUNT
    assert (mixed.label > 0).equal(mixed.reply[:, 0] == HUMAN)
    judging = learner(discriminator(), generator())
    judging.config = DiscriminatorConfig(mismatched=0.0)
    assert "d_mismatched_taken_for_human" not in judging.measure()


def test_pad_together() -> None:
    assert pad_together([torch.tensor([[1, 2]]), torch.tensor([[3]])]).tolist() == [[1, 2], [3, PAD]]


def learner(
    judge: Discriminator, model: Seq2SeqGenerator, *, replay: int = 4096, held: int = 36, batch: int = 36
) -> Discrimination:
    pairs = copy_task()
    config = DiscriminatorConfig(batch=batch, learning_rate=5e-3, replay=replay)
    rng = torch.Generator().manual_seed(0)
    return Discrimination(
        judge, model, Batches(split_of(pairs), batch, DATA, 0, CPU), batch_of(pairs[:held]), config, "fp32", rng
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_few_steps_teach_d_to_catch_machines_and_fluent_but_unrelated_replies(architecture: Architecture) -> None:
    judging = learner(discriminator(architecture, width=32), generator())
    before = judging.measure()
    for _ in range(200):
        judging.step()
    after = judging.measure()
    assert after["d_human_taken_for_human"] > 0.9
    assert after["d_machine_taken_for_human"] < 0.1
    assert after["d_mismatched_taken_for_human"] < 0.15
    assert after["d_accuracy"] > before["d_accuracy"] + 0.3


def test_accuracy_is_the_mean_over_held_out_humans_and_fresh_machines() -> None:
    judging = learner(discriminator(), generator(), held=7)
    found = judging.measure()
    expected = (found["d_human_taken_for_human"] + 1 - found["d_machine_taken_for_human"]) / 2
    assert found["d_accuracy"] == judging.accuracy == pytest.approx(expected)
    assert set(found) == {
        "d_accuracy", "d_loss_held_out", "d_human_taken_for_human", "d_machine_taken_for_human",
        "d_mismatched_taken_for_human",
    }  # fmt: skip


def test_one_prefix_of_each_reply_is_as_likely_as_another() -> None:
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]]).repeat(3000, 1)
    chosen = one_prefix(mask, torch.Generator().manual_seed(0))
    assert chosen.sum(1).eq(1).all()
    assert not (chosen & ~mask).any()
    shares = chosen[::2].float().mean(0)
    assert shares[:3].tolist() == pytest.approx([1 / 3] * 3, abs=0.04)
    assert chosen[1::2, 0].all()


def test_with_one_prefix_the_loss_is_that_of_the_prefixes_drawn_alone() -> None:
    judging = learner(discriminator(), generator(), batch=8)
    judging.one_prefix = True
    batch = batch_of(copy_task()[:8])
    mixed = mix(batch, batch.reply.roll(1, 1), None, DiscriminatorConfig(), torch.Generator().manual_seed(1))
    judging.discriminator.train()
    state = judging.rng.get_state()
    found, _ = judging._judge(mixed)
    judging.rng.set_state(state)
    seen = one_prefix(reply_mask(mixed.reply), judging.rng)
    judge = judging.discriminator
    logits = judge(judge.encode(mixed.context).select(mixed.lane), mixed.reply)
    torch.testing.assert_close(found, prefix_cross_entropy(logits, mixed.label, seen))
    assert judging.measure() == judging.measure()  # of all prefixes: no luck of the draw


def test_held_out_loss_is_the_same_whenever_it_is_measured_and_falls_with_learning() -> None:
    judging = learner(discriminator(), generator())
    before = judging.measure()
    state = judging.rng.get_state()
    assert judging.measure() == before
    assert torch.equal(judging.rng.get_state(), state)  # how often D is measured changes nothing in training
    for _ in range(60):
        judging.step()
    assert judging.measure()["d_loss_held_out"] < before["d_loss_held_out"] - 0.2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_d_may_begin_with_what_the_generator_knows_and_with_no_opinion(architecture: Architecture) -> None:
    judge, model = discriminator(architecture), generator(architecture)
    start_from_generator(judge, model)
    for name, value in model.trunk.state_dict().items():
        assert torch.equal(judge.trunk.state_dict()[name], value), name
    batch = batch_of(copy_task())
    assert judge(judge.encode(batch.context), batch.reply).abs().max() < 0.3
    model.bias.data.fill_(1.0)
    model.trunk.embedding.weight.data.zero_()
    assert judge.trunk.embedding.weight.any()  # a copy


def test_teaching_d_leaves_the_generator_alone() -> None:
    model = generator()
    before = copy.deepcopy(model.state_dict())
    learner(discriminator(), model).step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fresh_fakes_are_drawn_without_dropout_and_follow_the_random_state() -> None:
    model = generator(dropout=0.5).train()
    context = batch_of(copy_task()).context
    drawn = [fresh_fakes(model, context, torch.Generator().manual_seed(seed), "fp32") for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_old_fakes_are_forgotten_beyond_the_memory_and_come_back_from_within_it() -> None:
    judging = learner(discriminator(), generator(), replay=30, batch=8)
    assert judging._recall(8) is None
    for number in range(10):
        judging._keep(marked(number, 8), marked(number, 8))
    assert [int(context[0, 0]) for context, _ in judging._old] == [7, 8, 9]
    recalled = judging._recall(8)
    assert recalled is not None
    assert torch.equal(recalled.context, recalled.reply)  # each fake with its own context
    assert len(recalled) == 8
    assert len({tuple(row) for row in recalled.context.tolist()}) > 2


def test_a_memory_smaller_than_a_batch_remembers_nothing() -> None:
    judging = learner(discriminator(), generator(), replay=0)
    judging.step()
    assert judging._recall(4) is None
    judging.step()


def test_saved_and_taken_up_again_d_goes_on_as_if_nothing_had_happened() -> None:
    one = learner(discriminator(), generator(), batch=8)
    for _ in range(4):
        one.step()
    one.measure()
    kept = copy.deepcopy((one.state_dict(), one.discriminator.state_dict()))
    states = one.rng.get_state(), torch.get_rng_state()
    expected = [one.step(), one.step(), one.measure()]
    two = learner(discriminator(seed=9), generator(), batch=8)
    two.load_state_dict(kept[0])
    two.discriminator.load_state_dict(kept[1])
    two.rng.set_state(states[0])
    torch.set_rng_state(states[1])
    assert two.accuracy == kept[0]["accuracy"]
    assert [two.step(), two.step(), two.measure()] == expected


def test_softening_halves_the_rate() -> None:
    judging = learner(discriminator(), generator())
    judging.soften()
    assert [group["lr"] for group in judging.optimizer.param_groups] == [2.5e-3]
    assert padded([[3]]).shape == (1, 1)
