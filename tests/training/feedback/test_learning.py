"""What people said reaches D as it should: thumbs in the mixed batch, preferences as a term of their own."""

import copy

import pytest
import torch

from chatbot.discriminator import Discriminator, final_logits
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import TURN
from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    DATA,
    WORDS,
    Architecture,
    ambiguous_task,
    batch_of,
    copy_task,
    discriminator,
    draw,
    generator,
    padded,
    perfect_generator,
    seqgan,
    split_of,
    twin,
)
from training.batches import Batch, Batches
from training.config import DiscriminatorConfig, FeedbackConfig
from training.evaluation.intervals import bootstrap_difference
from training.feedback.encoding import Compared, Thumbed
from training.objectives.discrimination import Discrimination, mix

COUNT = 8
LIKED = (3, 4, 5)
"""The words that the toy's raters like."""


class GivenFeedback:
    """Feedback in token ids, as `TaughtFeedback` gives it of texts."""

    def __init__(self, compared: Compared | None, thumbed: Thumbed | None = None, **settings: float) -> None:
        self.config = FeedbackConfig(**{"batch": 16, **settings})
        self.compared, self.held_out, self.thumbed = compared, compared, thumbed

    def draw_preferences(self, rng: torch.Generator) -> Compared | None:
        if self.compared is None:
            return None
        return self.compared.select(torch.randint(len(self.compared), (self.config.batch,), generator=rng))

    def draw_thumbs(self, humans: int, rng: torch.Generator) -> Thumbed | None:
        return self.thumbed


def preferences(winner: int = 0) -> Compared:
    """Return every liked word against every other one, after the toy's only context; winner 1 turns them round."""
    pairs = [(a, b) for a in LIKED for b in WORDS if b not in LIKED]
    sides = [padded([[pair[side], TURN] for pair in pairs]) for side in (winner, 1 - winner)]
    return Compared(torch.tensor([[3, TURN]] * len(pairs)), sides[0], sides[1], torch.zeros(len(pairs)).long())


def discrimination(judge: Discriminator, feedback: GivenFeedback | None) -> Discrimination:
    pairs = ambiguous_task()
    config = DiscriminatorConfig(batch=COUNT, learning_rate=1e-2)
    return Discrimination(
        judge, generator(), Batches(split_of(pairs), COUNT, DATA, 1, CPU), batch_of(pairs), config, "fp32",
        torch.Generator().manual_seed(0), feedback=feedback,
    )  # fmt: skip


def liking(judge: Discriminator) -> float:
    """Return how much higher D's logit of a liked word is than that of another."""
    judge.eval()
    context, reply = torch.tensor([[3, TURN]] * len(WORDS)), torch.tensor([[word, TURN] for word in WORDS])
    with torch.no_grad():
        logits = final_logits(judge(judge.encode(context), reply), reply)
    liked = torch.tensor([word in LIKED for word in WORDS])
    return float(logits[liked].mean() - logits[~liked].mean())


def test_replies_with_a_thumb_come_on_top_liked_as_human_and_disliked_not() -> None:
    batch = batch_of(copy_task()[:20])
    thumbed = Thumbed(
        torch.tensor([[7, 7, 7, TURN], [8, 8, 8, TURN]]), torch.tensor([[3], [4]]), torch.tensor([True, False])
    )
    rng = torch.Generator().manual_seed(0)
    config = DiscriminatorConfig()
    mixed = mix(batch, batch.reply, None, config, rng, thumbed)
    plain = mix(batch, batch.reply, None, config, torch.Generator().manual_seed(0))
    assert len(mixed.label) == len(plain.label) + 2
    rows = [
        (context[:3], reply[0], round(label, 3))
        for context, reply, label in zip(
            mixed.context[mixed.lane].tolist(), mixed.reply.tolist(), mixed.label.tolist(), strict=True
        )
    ]
    assert [row for row in rows if row[0] == [7, 7, 7]] == [([7, 7, 7], 3, 0.9)]
    assert [row for row in rows if row[0] == [8, 8, 8]] == [([8, 8, 8], 4, 0.0)]
    # The pairs (human, machine) still name what they named.
    for better, worse in mixed.pairs.tolist():
        assert mixed.label[better] == pytest.approx(0.9)
        assert mixed.label[worse] == 0
        assert mixed.context[mixed.lane[better]].tolist() == mixed.context[mixed.lane[worse]].tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_d_learns_which_replies_people_prefer_and_the_other_way_round(architecture: Architecture) -> None:
    found = []
    for winner in (0, 1):
        judge = discriminator(architecture)
        learning = discrimination(judge, GivenFeedback(preferences(winner)))
        before = learning.measure()["d_feedback_agreement"]
        for _ in range(60):
            learning.step()
        assert learning.measure()["d_feedback_agreement"] == 1.0
        assert before < 1.0
        found.append(liking(judge))
    assert found[0] > 1
    assert found[1] < -1


def test_d_learns_from_thumbs_alone() -> None:
    words, found = [[word, TURN] for word in WORDS], []
    for sign in (1, -1):
        up = torch.tensor([(word in LIKED) == (sign > 0) for word in WORDS])
        judge = discriminator()
        learning = discrimination(judge, GivenFeedback(None, Thumbed(torch.tensor([[3, TURN]] * 6), padded(words), up)))
        for _ in range(60):
            learning.step()
        found.append(liking(judge))
        assert "d_feedback_agreement" not in learning.measure()  # thumbs hold no preference to measure
    assert found[0] > 0.2
    assert found[1] < -0.2


def test_the_held_out_loss_counts_preferences_and_the_weight_is_their_share() -> None:
    judge = discriminator()
    found = {}
    for weight in (0.0, 1.0, 3.0):
        learning = discrimination(copy.deepcopy(judge), GivenFeedback(preferences(), preference=weight))
        found[weight] = learning.measure()["d_loss_held_out"]
    assert found[3.0] - found[0.0] == pytest.approx(3 * (found[1.0] - found[0.0]), rel=1e-4)
    assert found[0.0] == pytest.approx(discrimination(judge, None).measure()["d_loss_held_out"])


def test_without_feedback_no_random_number_more_is_drawn() -> None:
    one, two = (discrimination(discriminator(), None) for _ in range(2))
    batch = one.batches.next()
    one.learn(batch, batch.reply)
    two.learn(Batch(batch.context, batch.reply), batch.reply)
    assert torch.equal(one.rng.get_state(), two.rng.get_state())


def share_of_liked(start: Seq2SeqGenerator, told: Compared, seed: int) -> list[float]:
    """Return 1 for each of 300 replies of the generator, after it was trained with feedback, that the raters like."""
    learner = twin(start)
    judging = DiscriminatorConfig(batch=8, learning_rate=1e-2, extra_below=0.0, skip_above=1.0)
    judge, tasks = discriminator(seed=seed), ambiguous_task()
    objective = seqgan(learner, judge, tasks, judging=judging, seed=seed, learning_rate=1e-3, kl=0.1, samples=8)
    objective.discrimination.feedback = GivenFeedback(told)  # type: ignore[assignment]  # the same, of token ids
    for _ in range(25):
        objective.discrimination.step()
    for _ in range(25):
        objective.step(0.0)
    replies = draw(learner, batch_of([([3], [3])] * 300).context, seed).tokens
    return torch.isin(replies[:, 0], torch.tensor(LIKED)).float().tolist()


def test_the_generator_moves_towards_what_is_preferred_and_not_towards_the_placebo() -> None:
    """Six words are equally right; the raters like three of them. Three seeds, the interval over seeds and replies."""
    start, told = perfect_generator(), preferences()
    forgotten = Compared(  # each preference, and the same one turned round
        *(
            torch.cat(both)
            for both in ((told.context,) * 2, (told.chosen, told.rejected), (told.rejected, told.chosen))
        ),
        told.owner.repeat(2),
    )
    moved, placebo = ([share_of_liked(start, export, seed) for seed in range(3)] for export in (told, forgotten))
    found = bootstrap_difference(moved, placebo)

    assert found.low > 0.1
    assert abs(float(torch.tensor(placebo).mean()) - 0.5) < 0.25
    assert float(torch.tensor(moved).mean()) > 0.65
