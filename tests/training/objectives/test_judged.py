"""Policy gradient over simulated dialogues with a judge that never learns: the gradient's direction, whose it is."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from chatbot.bundle import load_bundle
from chatbot.errors import BundleError
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import START, TURN
from tests.training.test_train import SHORT, assert_same_run, kill_in_step, lines, quiet
from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    DATA,
    Architecture,
    batch_of,
    copy_task,
    discriminator,
    generator,
    split_of,
    twin,
)
from training.batches import Batch, Batches
from training.composition import compose
from training.config import AdversarialConfig, JudgedConfig
from training.errors import ConfigError
from training.judges import Judge
from training.objectives.judged import JudgedDialogues, turns_at
from training.run import STATE
from training.selftalk import SelfTalk, by_dialogue
from training.train import begin, resume

PLAIN = {"contexts": 8, "samples": 4, "kl": 0.0, "teacher_forcing": 0.0, "teacher_forcing_end": 0.0}


class ToldOpinion:
    """A judge whose only part says what it is told to say of turns."""

    def __init__(self, reference: Seq2SeqGenerator, opinion: Callable[[SelfTalk], Tensor]) -> None:
        self.reference = reference
        self.opinion = opinion
        self.weights = {"told": 1.0}

    def judge(self, talk: SelfTalk) -> dict[str, Tensor]:
        return {"told": self.opinion(talk)}


def never(turns: Tensor) -> Tensor:
    return torch.zeros(len(turns), dtype=torch.bool)


def judged(
    model: Seq2SeqGenerator,
    opinion: Callable[[SelfTalk], Tensor] | None = None,
    *,
    talks: JudgedConfig | None = None,
    is_dull: Callable[[Tensor], Tensor] = never,
    seed: int = 0,
    **settings: object,
) -> JudgedDialogues:
    """Put the objective together on the copy task; without an opinion its judge is made of tiny models."""
    config = AdversarialConfig(**{**PLAIN, **settings})  # type: ignore[arg-type] # the tests name real settings
    talks = talks or JudgedConfig(turns=3)
    reference = twin(model)
    real = Judge(reference, generator(seed=5), discriminator(), [torch.tensor([3, TURN])], talks, 5.0)
    judge: Any = real if opinion is None else ToldOpinion(reference, opinion)
    batches = Batches(split_of(copy_task()), config.contexts, DATA, 2, CPU)
    rng = torch.Generator().manual_seed(seed)
    return JudgedDialogues(model, reference, judge, is_dull, None, batches, config, talks, "fp32", rng)


def first_word(model: Seq2SeqGenerator, batch: Batch) -> Tensor:
    """Return the mean distribution [V] of the first word said."""
    model.eval()
    with torch.no_grad():
        logits, _ = model.step(model.encode(batch.context), torch.full((len(batch),), START))
    return torch.softmax(logits, 1).mean(0)


# The gradient's direction.


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_a_part_prefers_becomes_likelier_and_what_it_punishes_rarer(
    architecture: Architecture, sign: float
) -> None:
    model = generator(architecture)
    objective = judged(
        model, lambda talk: sign * (talk.tokens[:, 0] == 4).float(), learning_rate=2e-3, samples=8,
    )  # fmt: skip
    batch = batch_of(copy_task())
    before = first_word(model, batch)[4]
    for _ in range(20):
        objective.step(0.0)
    after = first_word(model, batch)[4]
    assert (after - before) * sign > 0.5 * (before if sign < 0 else 1 - before)


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_a_turn_is_rewarded_for_what_the_other_one_answers_to_it(discount: float) -> None:
    def opinion(talk: SelfTalk) -> Tensor:
        """Like second turns that answer a first one that began with 4, and say nothing of first turns."""
        begun = by_dialogue(talk, talk.tokens[:, 0])[talk.dialogue, 0]
        return ((begun == 4) & (talk.turn == 1)).float()

    objective = judged(generator(), opinion, talks=JudgedConfig(turns=2, discount=discount), samples=8)
    found = objective.rehearse(batch_of(copy_task()[:8]), 2)
    first = found.talk.turn == 0
    liked = first & (found.talk.tokens[:, 0] == 4)
    assert liked.any()
    if discount:
        assert (found.advantages[liked] > 0).all()
        assert (found.advantages[first & ~liked] <= 0).all()
    else:
        assert not found.advantages[first].any()


def test_a_constant_reward_gives_exactly_no_gradient_and_noise_some() -> None:
    for kind, moved in (("constant", False), ("noise", True)):
        model = generator()
        before = copy.deepcopy(model.state_dict())
        metrics = judged(model, reward=kind).step(0.0)
        assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items()) == moved
        assert f"reward_{kind}" in metrics


# Rewards, returns and advantages.


def test_advantages_are_what_is_worked_out_by_hand() -> None:
    """Two contexts, two dialogues each, two turns; the second dialogue ends with its first turn."""
    told = {(0, 0): 1.0, (0, 1): 2.0, (1, 0): 3.0, (2, 0): 0.0, (2, 1): 4.0, (3, 0): 2.0, (3, 1): 6.0}

    def opinion(talk: SelfTalk) -> Tensor:
        return torch.tensor([told[d, t] for d, t in zip(talk.dialogue.tolist(), talk.turn.tolist(), strict=True)])

    count = 0

    def is_dull(turns: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return torch.arange(len(turns)) == (1 if count == 1 else -1)

    objective = judged(
        generator(), opinion, samples=2, is_dull=is_dull, talks=JudgedConfig(turns=2, discount=0.5), advantage_clip=1.2
    )
    found = objective.rehearse(batch_of(copy_task()[:2]), 2)
    assert by_dialogue(found.talk, torch.ones(7)).tolist() == [[1, 1], [1, 0], [1, 1], [1, 1]]
    # Returns: 1 + 2/2 = 2 and 2; 3 + 3/2 = 4.5, for it goes on earning 3; 0 + 4/2 = 2 and 4; 2 + 6/2 = 5 and 6.
    # Less the other one's at the same turn: -2.5 and (no other) 0; 2.5; -3 and -2; 3 and 2.
    spread = math.sqrt((2 * 2.5**2 + 2 * 3**2 + 2 * 2**2) / 7)
    values = [[-2.5, 0.0], [2.5, 0.0], [-3.0, -2.0], [3.0, 2.0]]
    expected = [[max(-1.2, min(1.2, v / spread)) for v in row] for row in values]
    for got, row in zip(by_dialogue(found.talk, found.advantages).tolist(), expected, strict=True):
        assert got == pytest.approx(row, rel=1e-5)


def test_parts_of_different_scale_weigh_as_their_weights_say() -> None:
    model = generator()
    objective = judged(model, lambda talk: talk.tokens[:, 0].float())
    batch = batch_of(copy_task()[:8])
    state = objective.rng.get_state()
    small = objective.rehearse(batch, 2).advantages
    objective.judge.opinion = lambda talk: 1000.0 * talk.tokens[:, 0].float() - 7  # type: ignore[attr-defined] # a fake
    objective.rng.set_state(state)
    torch.testing.assert_close(objective.rehearse(batch, 2).advantages, small, rtol=1e-3, atol=1e-4)


def test_an_advantage_belongs_to_all_tokens_of_its_turn_and_to_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = judged(generator())
    seen: list[Any] = []
    monkeypatch.setattr(objective.policy, "step", lambda drawn, batch, progress: seen.append(drawn) or {})
    objective.step(1.0)
    (drawn,) = seen
    for advantages, mask in zip(drawn.advantages, drawn.mask, strict=True):
        assert len(set(advantages[mask].tolist())) == 1
        assert not advantages[~mask].any()
    assert drawn.lanes.tolist() == list(range(len(drawn.tokens)))
    assert drawn.advantages.unique().numel() > 10


def test_the_log_says_how_the_dialogues_went() -> None:
    def is_dull(turns: Tensor) -> Tensor:
        return turns[:, 0] == 4

    metrics = judged(generator(), is_dull=is_dull).step(1.0)
    parts = {f"reward_{part}" for part in ("ease", "flow", "coherence", "discriminator")}
    assert parts <= metrics.keys()
    assert metrics["simulated_turns"] == 3
    assert 0 < metrics["dull_turns"] < 1
    assert 0 < metrics["dialogue_length"] < 3
    assert 0 <= metrics["repeating_turns"] < 1


@pytest.mark.parametrize(("most", "expected"), [(1, [1, 1, 1]), (2, [2, 2, 2]), (3, [2, 3, 3]), (5, [2, 4, 5])])
def test_simulated_turns_grow_from_two_to_their_number(most: int, expected: list[int]) -> None:
    assert [turns_at(progress, most) for progress in (0.0, 0.5, 1.0)] == expected


# The judge never learns, and no dropout.


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_of_the_generator_gets_a_gradient_and_no_judge_does(architecture: Architecture) -> None:
    model = generator(architecture, dropout=0.1)
    objective = judged(model, learning_rate=1e-3)
    judge = objective.judge
    assert judge.backward is not None
    frozen = [judge.reference, judge.backward, judge.discriminator]
    before = copy.deepcopy([m.state_dict() for m in frozen])
    objective.step(1.0)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    for judging, weights in zip(frozen, before, strict=True):
        assert all(parameter.grad is None for parameter in judging.parameters())
        assert all(torch.equal(value, weights[name]) for name, value in judging.state_dict().items())


def test_the_same_random_state_gives_the_same_dialogues_and_another_others() -> None:
    objective = judged(generator(dropout=0.5))
    batch = batch_of(copy_task()[:8])
    state = objective.rng.get_state()
    one, two = objective.rehearse(batch, 2).talk.tokens, objective.rehearse(batch, 2).talk.tokens
    objective.rng.set_state(state)
    assert torch.equal(one, objective.rehearse(batch, 2).talk.tokens)
    assert one.shape != two.shape or not torch.equal(one, two)


def test_saved_and_taken_up_again_it_goes_on_as_if_nothing_had_happened() -> None:
    def build() -> JudgedDialogues:
        return judged(generator(seed=2, dropout=0.1), kl=0.02, teacher_forcing=0.5, learning_rate=1e-3)

    one = build()
    for _ in range(2):
        one.step(0.1)
    kept = copy.deepcopy([one.state_dict(), one.generator.state_dict()])
    states = one.rng.get_state(), torch.get_rng_state()
    expected = [one.step(0.5) for _ in range(2)]
    two = build()
    two.load_state_dict(kept[0])
    two.generator.load_state_dict(kept[1])
    two.rng.set_state(states[0])
    torch.set_rng_state(states[1])
    assert [two.step(0.5) for _ in range(2)] == expected
    one.soften()
    assert one.policy.rate == 5e-4


# Whole runs.

RUN = (
    *SHORT, "generator.dropout=0.1", "discriminator.steps=4", "adversarial.steps=5", "adversarial.evaluate_every=2",
    "adversarial.contexts=4", "adversarial.samples=2", "judged.turns=3",
)  # fmt: skip


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    begin(compose("judged", "toy", RUN), "judged", corpus, whole, quiet)
    rows = lines(whole)
    assert {row["stage"] for row in rows} == {"mle", "discriminator", "backward", "adversarial"}
    assert {"reward_ease", "dialogue_length", "d_accuracy", "valid_distinct_2"} <= rows[-1].keys()
    assert [row["step"] for row in rows if row["stage"] == "backward"][-1] == 6  # half of the mle stage
    assert (load_bundle(whole / "bundle").info["stage"], load_bundle(whole / "backward").discriminator) == (
        "adversarial", None,
    )  # fmt: skip
    for step in (19, 5):  # in the backward stage (3 steps into it); then in the adversarial one
        kill_in_step(step, corpus, out, "judged", RUN)
        assert (out / STATE).is_file()
    resume(out, quiet)
    assert_same_run(whole, out)
    reference, product = load_bundle(whole / "mle"), load_bundle(whole / "bundle")
    assert reference.discriminator is not None
    assert product.discriminator is not None
    for name, value in reference.discriminator.state_dict().items():
        assert torch.equal(value, product.discriminator.state_dict()[name]), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["judged.turns=0"], "judged.turns: expected at least 1"),
        (["judged.discount=1.5"], "judged.discount: expected at most 1"),
        (["judged.backward=0"], "judged.backward: expected above 0"),
        (["adversarial.baseline=ema"], "adversarial.baseline: expected loo"),
        (
            ["judged.ease=0", "judged.flow=0", "judged.coherence=0", "judged.discriminator=0"],
            "judged.ease: expected a ",
        ),
        (["judged.likelihood=1"], "judged.teacher: expected a bundle where judged.likelihood is above 0"),
        (["judged.teacher=somewhere"], "judged.teacher: expected a bundle where judged.likelihood is above 0"),
        (['stages=["mle", "discriminator", "adversarial"]'], "judged.coherence: expected 0 without the stage backward"),
        (['stages=["mle", "backward", "adversarial"]'], "judged.discriminator: expected 0 without the stage discrim"),
    ],
)
def test_a_judge_that_cannot_be_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose("judged", "toy", settings)


def test_a_judge_may_be_of_some_parts_only(corpus: Path, tmp_path: Path) -> None:
    # Five steps from a model of twelve: with seed 0 such a run has collapsed and was stopped, those of the seeds 2
    # to 7 kept their share of different bigrams between .39 and .64. Whether that is chance alone was not looked into.
    some = ('stages=["mle", "adversarial"]', "judged.coherence=0", "judged.discriminator=0", "seed=1")
    begin(compose("judged", "toy", [*RUN, *some]), "judged", corpus, tmp_path / "run", quiet)
    last = lines(tmp_path / "run")[-1]
    assert {"reward_ease", "reward_flow"} <= last.keys()
    assert not {"reward_coherence", "reward_discriminator", "d_accuracy"} & last.keys()
    assert not (tmp_path / "run" / "backward").exists()


def test_a_teacher_with_another_tokenizer_may_judge(corpus: Path, tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "recurrent"
    weights = ("judged.ease=0", "judged.flow=0", "judged.coherence=0", "judged.discriminator=0", "judged.mutual=1")
    some = ('stages=["mle", "adversarial"]', *weights, "judged.likelihood=1", f"judged.teacher={golden}", "seed=1")
    begin(compose("judged", "toy", [*RUN, *some]), "judged", corpus, tmp_path / "run", quiet)
    last = lines(tmp_path / "run")[-1]
    assert {"reward_mutual", "reward_likelihood"} <= last.keys()
    assert last["reward_likelihood"] < 0
    absent = [*RUN, *some[:-2], f"judged.teacher={tmp_path / 'absent'}"]
    with pytest.raises(BundleError, match="absent"):
        begin(compose("judged", "toy", absent), "judged", corpus, tmp_path / "other", quiet)
