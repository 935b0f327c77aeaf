import math

import pytest
import torch

from chatbot.discriminator import Discriminator, final_logits
from chatbot.generator.trunk import Architecture
from chatbot.reranking import ANYWAY, DULL_TURNS, best_first, dull_contexts, human_probability, mutual_information
from chatbot.tokenizer import TURN, Tokenizer
from tests.chatbot.tiny import discriminator, generator, padded


def shout(judge: Discriminator) -> Discriminator:
    with torch.no_grad():
        judge.head.weight.mul_(24)
    return judge


def test_the_highest_score_comes_first_and_ties_keep_their_order() -> None:
    assert best_first(torch.tensor([0.1, 0.9, 0.5, 0.9])).tolist() == [1, 3, 2, 0]


def test_each_reply_is_judged_with_its_own_context(architecture: Architecture) -> None:
    judge = discriminator(architecture)
    contexts = [[5, 6, TURN], [7, TURN]]
    replies = [[20, TURN], [21, 22, TURN], [20, TURN]]
    found = human_probability(judge, padded(contexts), torch.tensor([1, 0, 0]), padded(replies))

    for i, lane in enumerate([1, 0, 0]):
        context, reply = torch.tensor([contexts[lane]]), torch.tensor([replies[i]])
        with torch.no_grad():
            expected = torch.sigmoid(final_logits(judge(judge.encode(context), reply), reply))
        assert abs(float(found[i]) - float(expected)) < 1e-5
    assert abs(float(found[0] - found[2])) > 1e-4


def test_a_sure_discriminator_still_says_less_than_one(architecture: Architecture) -> None:
    """Sigmoids of 17 and more are all 1 in float32, where the order of the best candidates would be lost."""
    judge = shout(discriminator(architecture))
    reply = torch.randint(3, 40, (60, 4), generator=torch.Generator().manual_seed(0))
    context = torch.tensor([[5, 6, TURN]])
    lanes = torch.zeros(60, dtype=torch.long)
    with torch.no_grad():
        logits = final_logits(judge(judge.encode(context).select(lanes), reply), reply)
    scores = human_probability(judge, context, lanes, reply)

    assert 17 < float(logits.abs().max()) < 36, "not the sureness that this test is about"
    assert bool(((scores > 0) & (scores < 1)).all())
    assert best_first(scores).tolist() == best_first(logits).tolist()


@torch.no_grad()
def test_mutual_information_is_what_the_last_turn_adds_to_what_would_be_said_anyway(architecture: Architecture) -> None:
    model = generator(architecture)
    context, dull = [[5, 6, TURN], [7, TURN]], [[[8, TURN], [9, TURN]], [[10, 11, TURN], [12, TURN]]]
    replies, lanes = [[20, TURN], [21, 22, TURN], [23]], [1, 0, 0]
    found = mutual_information(
        model, padded(context), [padded(other) for other in dull], torch.tensor(lanes), padded(replies)
    )

    def chance(context: list[int], reply: list[int]) -> float:
        scores = model.score(model.encode(torch.tensor([context])), torch.tensor([reply]))[0].log_softmax(1)
        return float(scores.gather(1, torch.tensor(reply)[:, None]).sum())

    for i, lane in enumerate(lanes):
        anyway = sum(math.exp(chance(other[lane], replies[i])) for other in dull) / len(dull)
        assert float(found[i]) == pytest.approx(chance(context[lane], replies[i]) - ANYWAY * math.log(anyway), abs=1e-4)


def test_a_dull_turn_takes_the_place_of_the_last_one(tokenizer: Tokenizer) -> None:
    dull = [[*tokenizer.encode(text), TURN] for text in DULL_TURNS]
    first, second, last = ([*tokenizer.encode(text), TURN] for text in ("hello", "how are you?", "do you like music?"))
    assert dull_contexts(tokenizer, [*first, *second, *last], 200) == [[*first, *second, *turn] for turn in dull]
    assert dull_contexts(tokenizer, last, 200) == dull
    # What has no room is left out as the bot does it: whole turns, the oldest first; a turn too long keeps its end.
    room = max(map(len, dull)) + len(second)
    expected = [[*(first if len(first + second + turn) <= room else []), *second, *turn] for turn in dull]
    assert dull_contexts(tokenizer, [*first, *second, *last], room) == expected
    assert dull_contexts(tokenizer, [*first, *last], 3) == [turn[-3:] for turn in dull]
