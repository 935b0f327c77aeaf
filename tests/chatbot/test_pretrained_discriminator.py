"""The discriminator around a frozen language model: one logit for every prefix, and only its head learns."""

import pytest
import torch

from chatbot.pretrained_discriminator import HeadConfig, PretrainedDiscriminator
from chatbot.tokenizer import PAD, TURN
from tests.chatbot.pretrained import MAKES, Make, language_model
from tests.chatbot.tiny import CONTEXT_TOKENS, REPLY_TOKENS, padded

CONTEXTS = [[15, 16, 17, TURN, 18, TURN], [19, TURN], [14, 15, 16, 17, 18, 19, 20, TURN, 21, 22, TURN]]
REPLIES = [[20, 21, 22, 23, 24, TURN], [25, 26, TURN], [27, 28, 29, 30, TURN]]


def judge(make: Make = "llama") -> PretrainedDiscriminator:
    made = language_model(make)
    torch.manual_seed(2)
    return PretrainedDiscriminator(made, HeadConfig(8, 0.5), CONTEXT_TOKENS, REPLY_TOKENS).eval()


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_a_logit_judges_its_prefix_alone_and_padding_changes_nothing(make: Make) -> None:
    model = judge(make)
    together = model(model.encode(padded(CONTEXTS, width=CONTEXT_TOKENS)), padded(REPLIES, width=REPLY_TOKENS))
    for i, reply in enumerate(REPLIES):
        state = model.encode(torch.tensor([CONTEXTS[i]]))
        alone = model(state, torch.tensor([reply]))
        torch.testing.assert_close(together[i : i + 1, : len(reply)], alone, rtol=1e-4, atol=1e-4)
        shorter = model(state, torch.tensor([reply[:-1] or [7]]))
        if len(reply) > 1:
            torch.testing.assert_close(alone[:, :-1], shorter, rtol=1e-4, atol=1e-4)
    assert together[padded(REPLIES, width=REPLY_TOKENS) != PAD].std() > 1e-3


@torch.no_grad()
def test_context_and_last_token_both_matter() -> None:
    model = judge()
    reply = torch.tensor([[20, 21, TURN]])
    one = model(model.encode(torch.tensor([[15, TURN]])), reply)
    assert (model(model.encode(torch.tensor([[16, TURN]])), reply) - one).abs().max() > 1e-4
    assert (
        abs(float(model(model.encode(torch.tensor([[15, TURN]])), torch.tensor([[20, 22]]))[0, 1] - one[0, 1])) > 1e-4
    )


def test_only_the_head_learns_and_the_language_model_never_drops_anything() -> None:
    model = judge().train()
    assert model.training
    assert not model.trunk.network.training
    logits = model(model.encode(padded(CONTEXTS)), padded(REPLIES))
    logits.sum().backward()
    learnt = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learnt == set(model.state_dict())
    assert {name.split(".")[0] for name in learnt} == {"norm", "narrow", "gru", "out"}
