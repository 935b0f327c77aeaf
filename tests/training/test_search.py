"""Where a search leaves from, and in which parts it is done. What it draws: `test_rewards`, against a naive one."""

import pytest
import torch

from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.tokenizer import PAD, TURN
from tests.training.toys import ARCHITECTURES, CPU, REPLY_TOKENS, Architecture, batch_of, copy_task, generator
from training.rewards import draw_seeds
from training.search import in_parts, leave_from, most_branches, roll_out


def test_branches_leave_from_every_prefix_but_the_whole_reply() -> None:
    owner, known = leave_from(torch.tensor([3, 1, 2]), 2)
    # With one token known the first and the third go on, with two the first alone; each twice.
    assert owner.tolist() == [0, 0, 2, 2, 0, 0]
    assert known.tolist() == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("lengths", [[], [1], [1, 1]])
def test_replies_of_one_token_and_no_replies_have_no_branches(lengths: list[int]) -> None:
    owner, known = leave_from(torch.tensor(lengths, dtype=torch.long), 4)
    assert (owner.numel(), known.numel()) == (0, 0)


def test_what_is_made_is_made_where_the_lengths_are() -> None:
    with torch.device("meta"):
        lengths = torch.ones(2, dtype=torch.long, device="cpu") * 2
        assert leave_from(lengths, 1)[1].device.type == "cpu"


def test_parts_keep_the_branches_of_a_reply_together_and_begin_anew_when_full() -> None:
    owner = torch.tensor([0, 1, 2, 3, 0, 1, 3, 0])  # 3, 2, 1 and 2 branches
    # Before the first are 0, before the second 3, then 5 and 6: divided by 4, parts 0, 0, 1 and 1.
    assert [part.tolist() for part in in_parts(owner, 4, most=4)] == [[0, 1, 4, 5, 7], [2, 3, 6]]
    assert [part.tolist() for part in in_parts(owner, 4)] == [list(range(8))]
    assert [part.tolist() for part in in_parts(owner, 4, most=1)] == [[0, 4, 7], [1, 5], [2], [3, 6]]


def test_the_last_reply_may_have_no_branches_and_so_may_all() -> None:
    assert [part.tolist() for part in in_parts(torch.tensor([1, 0]), 3, most=1)] == [[1], [0]]
    nothing = torch.zeros(0, dtype=torch.long)
    assert list(in_parts(nothing, 2)) == []
    assert list(in_parts(nothing, 0)) == []


def test_a_small_generator_may_have_more_branches_at_once() -> None:
    assert most_branches(generator()) == 16384
    assert most_branches(PretrainedGenerator.__new__(PretrainedGenerator)) == 512


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("width", [3, REPLY_TOKENS])
def test_an_ending_keeps_what_was_known_and_ends_once(architecture: Architecture, width: int) -> None:
    model = generator(architecture).eval()
    context = batch_of(copy_task()[:3]).context
    replies = torch.tensor([[3, 4], [5, 6], [7, TURN]])
    replies = torch.nn.functional.pad(replies, (0, width - 2), value=8)  # what stands behind the known is not read
    owner, known = torch.tensor([2, 0, 1, 0]), torch.tensor([1, 2, 2, 2])
    seeds = draw_seeds(4, torch.Generator().manual_seed(5), CPU)
    with torch.device("meta"):  # whatever is not told where to be
        found = roll_out(model, model.encode(context), replies, owner, known, seeds)
    assert found.shape == (4, REPLY_TOKENS)
    assert not found.requires_grad
    for row, of, k in zip(found.tolist(), owner.tolist(), known.tolist(), strict=True):
        assert row[:k] == replies[of, :k].tolist()
        written = row[k:]
        end = written.index(TURN) if TURN in written else len(written)
        assert set(written[end + 1 :]) <= {PAD}
        assert set(written[:end]) <= set(range(3, 9))
    alone = roll_out(model, model.encode(context), replies, owner[2:3], known[2:3], seeds[2:3])
    assert alone[0].tolist() == found[2].tolist()  # its own random stream, whoever stands beside it
