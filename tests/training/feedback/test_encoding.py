"""Feedback as token ids: cut as the dataset's pairs are, drawn fairly, forgotten where it is to be a placebo."""

from pathlib import Path

import pytest
import torch

from chatbot.tokenizer import PAD, TURN, Tokenizer
from tests.training.toys import CPU, ToldJudge
from training.config import DataConfig, FeedbackConfig
from training.feedback.agreement import agreement, all_margins
from training.feedback.encoding import Compared, TaughtFeedback, encode_preferences
from training.feedback.records import Feedback, Preference, Thumb

DATA = DataConfig(context_tokens=8, reply_tokens=4)


@pytest.fixture(scope="module")
def tokenizer(corpus: Path) -> Tokenizer:
    return Tokenizer.load(corpus / "tokenizer.json")


def taught(tokenizer: Tokenizer, feedback: Feedback, **settings: object) -> TaughtFeedback:
    return TaughtFeedback(feedback, FeedbackConfig(**settings), tokenizer, DATA, CPU, 0)


def test_preferences_become_ids_cut_where_the_datasets_pairs_are(tokenizer: Tokenizer) -> None:
    long = "woof woof woof woof woof woof"
    found = encode_preferences(
        [Preference(("a", "b"), "moo", long), Preference(("b",), "", "moo")], tokenizer, DATA, CPU
    )
    moo = tokenizer.encode("moo")
    assert found.context[0].tolist() == [*tokenizer.encode("a"), TURN, *tokenizer.encode("b"), TURN]
    assert found.chosen[0, : len(moo) + 1].tolist() == [*moo, TURN]
    assert found.rejected[0].tolist() == tokenizer.encode(long)[:4]  # nobody ended it there
    assert found.chosen[1].tolist() == [TURN, PAD, PAD, PAD]
    assert found.owner.tolist() == [0, 1]
    with pytest.raises(ValueError, match="no preference"):
        encode_preferences([], tokenizer, DATA, CPU)


def test_as_many_thumbs_up_as_down_are_drawn_however_rare_one_is(tokenizer: Tokenizer) -> None:
    thumbs = tuple(Thumb((f"q{i}",), "moo", i == 0) for i in range(50))
    drawn = taught(tokenizer, Feedback(thumbs=thumbs), held_out=0.0, thumbs=0.5).draw_thumbs(40, torch.Generator())
    assert drawn is not None
    assert drawn.up.sum() == 10
    assert len(drawn) == 20
    only = taught(tokenizer, Feedback(thumbs=thumbs[1:]), held_out=0.0).draw_thumbs(40, torch.Generator())
    assert only is not None
    assert (len(only), int(only.up.sum())) == (10, 0)


def test_nothing_is_drawn_of_what_is_not_there_or_has_no_weight(tokenizer: Tokenizer) -> None:
    nothing = taught(tokenizer, Feedback())
    assert nothing.draw_preferences(torch.Generator()) is None
    assert nothing.draw_thumbs(40, torch.Generator()) is None
    both = Feedback(preferences=(Preference(("q",), "a", "b"),), thumbs=(Thumb(("q",), "a", True),))
    off = taught(tokenizer, both, held_out=0.0, preference=0.0, thumbs=0.0)
    assert off.draw_preferences(torch.Generator()) is None
    assert off.draw_thumbs(40, torch.Generator()) is None


def test_shuffled_preferences_say_nothing_and_held_out_ones_stay_true(tokenizer: Tokenizer) -> None:
    preferences = tuple(Preference((f"q{i}",), "moo", "woof") for i in range(200))
    thumbs = tuple(Thumb((f"q{i}",), "moo" if i % 2 else "woof", bool(i % 2)) for i in range(200))
    placebo = taught(tokenizer, Feedback((), preferences, thumbs), shuffled=True, held_out=0.2)
    moo = tokenizer.encode("moo")[0]
    assert placebo.compared is not None
    assert placebo.held_out is not None
    assert placebo.thumbed is not None
    right = placebo.compared.chosen[:, 0] == moo
    assert int(right.sum()) == len(right) - len(right) // 2
    assert bool((placebo.held_out.chosen[:, 0] == moo).all())
    likes_moo = (placebo.thumbed.reply[:, 0] == moo) == placebo.thumbed.up
    assert 0.3 < float(likes_moo.float().mean()) < 0.7


def test_agreement_counts_every_context_once_and_a_tie_half() -> None:
    # Context 0: two of three shared; context 1: its only one is a tie.
    found = agreement(torch.tensor([1.0, 2.0, -1.0, 0.0]), torch.tensor([0, 0, 0, 1]))
    assert found.tolist() == [pytest.approx(2 / 3), 0.5]


def test_margins_are_those_of_whole_replies_in_any_number_of_parts() -> None:
    def opinion(context: torch.Tensor, reply: torch.Tensor) -> torch.Tensor:
        """Return the sum of the tokens so far, and of the context's first one."""
        return (reply.cumsum(1) + 10 * context[:, :1]).float()

    chosen = torch.tensor([[5, TURN, PAD], [3, 4, TURN]]).repeat(150, 1)
    rejected = torch.tensor([[4, TURN], [9, TURN]]).repeat(150, 1)
    compared = Compared(torch.tensor([[3, TURN]]).repeat(300, 1), chosen, rejected, torch.arange(300))
    judge = ToldJudge(opinion)
    assert all_margins(judge, compared, "fp32").tolist() == [1.0, -2.0] * 150
