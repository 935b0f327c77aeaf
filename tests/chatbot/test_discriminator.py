import pytest
import torch

from chatbot.discriminator import Discriminator, final_logits
from chatbot.generator.trunk import Architecture
from chatbot.tokenizer import PAD, TURN
from tests.chatbot.tiny import CONTEXT_TOKENS, REPLY_TOKENS, VOCABULARY, discriminator, padded

CONTEXTS = [[5, 6, 7, TURN, 8, TURN], [9, TURN], [TURN]]
REPLIES = [[20, 21, 22, 23, TURN], [25, 26, TURN], [TURN]]


@pytest.fixture
def judge(architecture: Architecture) -> Discriminator:
    return discriminator(architecture)


@torch.no_grad()
@pytest.mark.parametrize("t", range(1, REPLY_TOKENS))
def test_a_later_token_changes_no_earlier_logit(judge: Discriminator, t: int) -> None:
    reply = torch.randint(3, VOCABULARY, (1, REPLY_TOKENS), generator=torch.Generator().manual_seed(0))
    other = reply.clone()
    other[:, t:] = (other[:, t:] - 3 + 11) % (VOCABULARY - 3) + 3
    state = judge.encode(padded(CONTEXTS[:1]))
    a, b = judge(state, reply), judge(state, other)

    assert a.shape == (1, REPLY_TOKENS)
    torch.testing.assert_close(a[:, :t], b[:, :t], rtol=1e-5, atol=1e-5)
    assert abs(float(a[0, t] - b[0, t])) > 1e-4, "the token that was changed is itself judged"


@torch.no_grad()
def test_a_prefix_is_judged_as_it_would_be_alone(judge: Discriminator) -> None:
    reply = torch.tensor([[20, 21, 22, 23, TURN]])
    logits = judge(judge.encode(padded(CONTEXTS[:1])), reply)

    for t in range(1, 6):
        alone = judge(judge.encode(padded(CONTEXTS[:1])), reply[:, :t])
        torch.testing.assert_close(final_logits(alone, reply[:, :t]), logits[:, t - 1], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_padding_changes_no_verdict(judge: Discriminator) -> None:
    reply = padded(REPLIES, width=REPLY_TOKENS)
    together = final_logits(judge(judge.encode(padded(CONTEXTS, width=CONTEXT_TOKENS)), reply), reply)

    for i in range(3):
        alone_reply = torch.tensor([REPLIES[i]])
        alone = final_logits(judge(judge.encode(torch.tensor([CONTEXTS[i]])), alone_reply), alone_reply)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_same_reply_is_judged_by_its_context(judge: Discriminator) -> None:
    reply = torch.tensor([[20, 21, TURN]] * 3)
    verdicts = final_logits(judge(judge.encode(padded(CONTEXTS)), reply), reply)

    assert abs(float(verdicts[0] - verdicts[1])) > 1e-4
    assert abs(float(verdicts[1] - verdicts[2])) > 1e-4


def test_final_logits_are_those_of_the_last_real_token() -> None:
    logits = torch.arange(12.0).view(3, 4)
    reply = torch.tensor([[7, 8, TURN, PAD], [TURN, PAD, PAD, PAD], [7, 8, 9, 10]])

    assert final_logits(logits, reply).tolist() == [2.0, 4.0, 11.0]


def test_a_reply_of_padding_alone_gets_the_first_logit() -> None:
    assert final_logits(torch.tensor([[3.0, 4.0]]), torch.tensor([[PAD, PAD]])).tolist() == [3.0]


def test_every_parameter_learns_from_the_verdict(architecture: Architecture) -> None:
    judge = discriminator(architecture)
    reply = padded(REPLIES)
    final_logits(judge(judge.encode(padded(CONTEXTS)), reply), reply).sum().backward()

    for name, parameter in judge.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.abs().sum() > 1e-7, f"{name} has a gradient of nothing"
