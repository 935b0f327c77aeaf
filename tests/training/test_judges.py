"""Each part of the judge, in numbers worked out by hand with models whose probabilities are known."""

import math

import pytest
import torch
from torch import Tensor

from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import PAD, TURN
from tests.training.toys import (
    ARCHITECTURES,
    DATA,
    VOCABULARY,
    Architecture,
    ToldJudge,
    discriminator,
    generator,
    padded,
)
from training.config import JudgedConfig
from training.judges import (
    SMALLEST_COSINE,
    Judge,
    coherence,
    ease_of_answering,
    human_likeness,
    information_flow,
    mean_log_probability,
    mutual_information,
    representation,
)
from training.losses import token_log_probabilities
from training.rewards import draw_seeds
from training.selftalk import self_talk
from training.teacher import Teacher
from training.turns import alone, turn_back

LN2 = math.log(2)


def unigram(probabilities: dict[int, float]) -> Seq2SeqGenerator:
    """Return a model that gives tokens these probabilities whatever came before, and all others together the rest."""
    model = generator()
    left = (1 - sum(probabilities.values())) / (VOCABULARY - len(probabilities))
    with torch.no_grad():
        model.trunk.embedding.weight.zero_()
        model.bias.copy_(torch.tensor([math.log(probabilities.get(i, left)) for i in range(VOCABULARY)]))
    return model


@torch.no_grad()
def test_ease_is_the_mean_surprise_of_dull_replies() -> None:
    model = unigram({TURN: 1 / 2, 3: 1 / 4, 4: 1 / 16})
    after = padded([[5, TURN, 6, TURN], [7, TURN]])
    # "3 end" costs ln 4 + ln 2 in two tokens: 1.5 ln 2 each. "4 4 end" costs 4 + 4 + 1 = 9 ln 2 in three: 3 ln 2 each.
    dull = [torch.tensor([3, TURN]), torch.tensor([4, 4, TURN])]
    assert ease_of_answering(model, after, dull[:1]).tolist() == pytest.approx([1.5 * LN2] * 2)
    assert ease_of_answering(model, after, dull).tolist() == pytest.approx([2.25 * LN2] * 2)


@torch.no_grad()
def test_a_turn_that_begs_for_a_dull_answer_has_less_ease() -> None:
    easy, hard = unigram({3: 0.5, TURN: 0.4}), unigram({3: 0.01, TURN: 0.4})
    after, dull = padded([[5, TURN]]), [torch.tensor([3, TURN])]
    assert ease_of_answering(hard, after, dull) > ease_of_answering(easy, after, dull)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_ease_is_asked_after_the_judged_turn_of_each_dialogue_by_itself(architecture: Architecture) -> None:
    model = generator(architecture).eval()
    after = [[5, TURN, 6, TURN], [7, TURN], [3, 3, 3, 3, 3, 3, 3, TURN]]
    dull = [torch.tensor([3, TURN]), torch.tensor([4, 8, TURN])]
    found = ease_of_answering(model, padded(after), dull)
    for i, row in enumerate(after):
        values = [
            token_log_probabilities(model, model.encode(torch.tensor([row])), reply[None]).mean() for reply in dull
        ]
        assert float(found[i]) == pytest.approx(-float(sum(values)) / 2, rel=1e-4)
    assert len(set(found.tolist())) == 3


def test_flow_is_minus_the_logarithm_of_the_cosine_and_bounded() -> None:
    directions = {3: (1.0, 0.0), 4: (1.0, 1.0), 5: (0.0, 2.0), 6: (-1.0, 0.0), 7: (1.0, 2.0), 0: (0.0, 0.0)}

    def represent(turns: Tensor) -> Tensor:
        return torch.tensor([directions[int(i)] for i in turns[:, 0]])

    most = -math.log(SMALLEST_COSINE)
    # Cosines: of the same 1, of 45 degrees 1 / sqrt 2, of (1, 0) and (1, 2) 1 / sqrt 5, of a right angle 0, of
    # opposites -1; and nothing was said before.
    turns = torch.tensor([[3], [3], [3], [3], [3], [3]])
    previous = torch.tensor([[3], [4], [7], [5], [6], [PAD]])
    expected = [0.0, math.log(2) / 2, math.log(5) / 2, most, most, 0.0]
    found = information_flow(represent, turns, previous)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert (found >= 0).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_a_turn_is_represented_by_the_mean_of_its_encoded_tokens_alone(architecture: Architecture) -> None:
    model = generator(architecture).eval()
    clean = padded([[3, 4, TURN], [5, TURN]])
    dirty = torch.tensor([[3, 4, TURN, 7, TURN], [5, TURN, 8, 8, 8]])
    found = representation(model, clean)
    torch.testing.assert_close(representation(model, dirty), found)
    torch.testing.assert_close(representation(model, clean[1:])[0], found[1])
    torch.testing.assert_close(representation(model, torch.tensor([[3, 4]]))[0], found[0])  # cut at its limit
    states = model.trunk.read_context(torch.tensor([[3, 4, TURN]]))
    torch.testing.assert_close(found[0], states[0].mean(0))
    flow = information_flow(lambda turns: representation(model, turns), clean, clean)
    assert flow.tolist() == pytest.approx([0.0, 0.0], abs=1e-5)


@torch.no_grad()
def test_coherence_is_the_likelihood_of_the_turn_and_backwards_of_the_turn_that_it_answers() -> None:
    reference, backward = unigram({TURN: 1 / 2, 3: 1 / 4}), unigram({TURN: 1 / 2, 6: 1 / 8})
    context, turn = padded([[4, 4, TURN, 6, 6, TURN], [6, TURN]]), padded([[3, TURN], [3, 3, 3, TURN]])
    # Forwards (2 + 1) / 2 = 1.5 ln 2 and (6 + 1) / 4 = 1.75 ln 2; backwards (3 + 3 + 1) / 3 and (3 + 1) / 2 = 2 ln 2.
    expected = [-(1.5 + 7 / 3) * LN2, -(1.75 + 2) * LN2]
    assert coherence(reference, backward, context, turn).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_the_backward_model_reads_the_turn_and_the_reference_the_context(architecture: Architecture) -> None:
    reference, backward = generator(architecture, seed=1).eval(), generator(architecture, seed=2).eval()
    context, turn = padded([[4, TURN, 6, 7, TURN], [6, TURN]]), padded([[3, TURN], [3, 5, 3]])
    found = coherence(reference, backward, context, turn)
    forwards = mean_log_probability(reference, context, turn)
    backwards = mean_log_probability(backward, alone(turn, 8), turn_back(context, 0))
    torch.testing.assert_close(found, forwards + backwards)
    dirty = torch.nn.functional.pad(turn, (0, 2), value=8)  # behind the end of the first turn
    torch.testing.assert_close(coherence(reference, backward, context, dirty)[0], found[0])
    wide = torch.nn.functional.pad(context, (0, 3), value=PAD)
    torch.testing.assert_close(coherence(reference, backward, wide, turn), found, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_mutual_information_is_what_the_last_turn_adds_to_what_would_be_said_anyway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dull = [torch.tensor([3, TURN]), torch.tensor([4, 4, TURN])]
    context, turn = padded([[5, TURN, 6, TURN], [7, TURN]]), padded([[8, TURN], [8, 8, 8, TURN]])
    told = {  # nats per token, by the context
        (5, TURN, 6, TURN): -1.0,
        (5, TURN, 3, TURN): -2.0,
        (5, TURN, 4, 4, TURN): -3.0,
        (7, TURN): -0.5,
        (3, TURN): -0.5,
        (4, 4, TURN): -0.5,
    }

    def scored(reference: object, context: Tensor, turn: Tensor) -> Tensor:
        return torch.tensor([told[tuple(i for i in row if i != PAD)] for row in context.tolist()])

    monkeypatch.setattr("training.judges.mean_log_probability", scored)
    found = mutual_information(generator(), context, turn, dull)
    # Of two tokens: -2 in all against e^-4 and e^-6; where the last turn changes nothing, a fifth of it is left.
    anyway = math.log((math.exp(-4) + math.exp(-6)) / 2)
    assert found.tolist() == pytest.approx([-1.0 - 0.8 * anyway / 2, 0.2 * -0.5])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_what_stands_behind_a_turn_changes_nothing_of_its_mutual_information(architecture: Architecture) -> None:
    model, dull = generator(architecture).eval(), [torch.tensor([3, TURN])]
    context, turn = padded([[4, TURN, 6, 7, TURN], [6, TURN]]), padded([[3, TURN], [3, 5, 3]])
    found = mutual_information(model, context, turn, dull)
    dirty, wide = torch.nn.functional.pad(turn, (0, 2), value=8), torch.nn.functional.pad(context, (0, 3), value=PAD)
    torch.testing.assert_close(mutual_information(model, context, dirty, dull)[0], found[0])
    torch.testing.assert_close(mutual_information(model, wide, turn, dull), found, rtol=1e-4, atol=1e-5)


def test_the_discriminator_is_read_at_the_end_clipped_and_unfinished_turns_pay() -> None:
    logits = torch.tensor([[1.0, 2.0, 9.0], [1.0, 2.0, 9.0], [1.0, 2.0, 3.0]])
    judge = ToldJudge(lambda _context, reply: logits[: len(reply)])
    turn = padded([[3, TURN], [3, 4, TURN], [3, 4, 5]])
    found = human_likeness(judge, turn, turn, torch.tensor([True, True, False]), 5.0)  # type: ignore[arg-type] # a fake
    assert found.tolist() == [2.0, 5.0, 2.0]  # the middle one clipped from 9, the last 3 less 1


class Scoring(Teacher):
    """Scores as a model of the policy's own tokens does."""

    def __init__(self) -> None:
        self.generator = generator(seed=6).eval()

    def likelihood(self, context: Tensor, turn: Tensor) -> Tensor:
        """Return log P(turn | context) per token."""
        return mean_log_probability(self.generator, context, turn)


TEACHER = Scoring()
PARTS = ("ease", "flow", "coherence", "mutual", "likelihood", "discriminator")


def judge_of(**weights: float) -> Judge:
    config = JudgedConfig(**{**dict.fromkeys(PARTS, 0.0), **weights})
    backward = generator(seed=5) if config.coherence else None
    teacher = TEACHER if config.likelihood else None
    return Judge(generator(seed=4), backward, discriminator(), [torch.tensor([3, TURN])], config, 5.0, teacher)


def test_only_parts_with_a_weight_are_asked_and_each_judges_every_turn_by_itself() -> None:
    seeds = draw_seeds(12, torch.Generator().manual_seed(0), torch.device("cpu")).view(4, 3)
    context = padded([[3, TURN], [4, 5, TURN], [6, TURN, 7, TURN], [8, TURN]])
    model = generator(seed=4).eval()
    talk = self_talk(model, context, seeds, DATA.context_tokens, lambda turns: turns[:, 0] == 3)
    whole = judge_of(**dict.fromkeys(PARTS, 1.0)).judge(talk)
    assert tuple(whole) == PARTS
    for part, values in whole.items():
        (alone_asked,) = judge_of(**{part: 1.0}).judge(talk).items()
        assert alone_asked[0] == part
        assert torch.equal(alone_asked[1], values)
        assert values.shape == talk.dialogue.shape
        assert len({round(float(v), 4) for v in values}) > len(values) // 2
    other = self_talk(model, context[:1], seeds[:1], DATA.context_tokens, lambda turns: turns[:, 0] == 3)
    for part, values in judge_of(**dict.fromkeys(PARTS, 1.0)).judge(other).items():
        torch.testing.assert_close(values, whole[part][talk.dialogue == 0], rtol=1e-4, atol=1e-5)


def test_coherence_without_a_backward_model_is_an_error() -> None:
    config = JudgedConfig()
    judge = Judge(generator(), None, discriminator(), [torch.tensor([3, TURN])], config, 5.0)
    talk = self_talk(generator(), padded([[3, TURN]]), torch.zeros(1, 1, dtype=torch.long), 8, lambda t: t[:, 0] < 0)
    with pytest.raises(ValueError, match="no backward model"):
        judge.judge(talk)


def test_likelihood_without_a_teacher_is_an_error() -> None:
    judge = Judge(
        generator(),
        None,
        discriminator(),
        [],
        JudgedConfig(ease=0, flow=0, coherence=0, discriminator=0, likelihood=1),
        5.0,
    )
    talk = self_talk(generator(), padded([[3, TURN]]), torch.zeros(1, 1, dtype=torch.long), 8, lambda t: t[:, 0] < 0)
    with pytest.raises(ValueError, match="no teacher"):
        judge.judge(talk)


def test_judges_are_frozen() -> None:
    judge = judge_of(coherence=1.0)
    assert judge.backward is not None
    for model in (judge.reference, judge.backward, judge.discriminator):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
