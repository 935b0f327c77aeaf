import torch

from chatbot.discriminator import Discriminator, final_logits
from chatbot.generator.trunk import Architecture
from chatbot.reranking import best_first, human_probability
from chatbot.tokenizer import TURN
from tests.chatbot.tiny import discriminator, padded


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
