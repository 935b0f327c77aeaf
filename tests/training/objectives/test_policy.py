"""The step that policy-gradient systems share; what it learns from rewards is in the tests of these systems."""

import copy

import pytest
import torch

from chatbot.tokenizer import TURN
from tests.training.toys import ARCHITECTURES, Architecture, batch_of, copy_task, generator, sampled
from training.config import AdversarialConfig
from training.losses import reply_mask
from training.objectives import policy
from training.objectives.policy import Drawn, Policy


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_many_replies_are_learnt_from_in_parts_as_if_they_were_one_batch(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = sampled([[4, TURN], [5, 6, TURN], [7, TURN], [8, 3, 3, 4, TURN], [3, TURN]]).tokens
    mask = reply_mask(replies)
    advantages = torch.tensor([1.0, -2.0, 0.5, 1.5, -1.0])[:, None] * mask
    batch = batch_of(copy_task()[:3])
    drawn = Drawn(batch.context, torch.tensor([0, 0, 2, 2, 1]), replies, advantages, mask)
    found = []
    for rows in (1024, 2):
        monkeypatch.setattr(policy, "_ROWS", rows)
        model = generator(architecture)
        config = AdversarialConfig(kl=0.3, clip=100.0)
        metrics = Policy(model, generator(architecture, seed=5), config, "fp32").step(drawn, batch, 0.0)
        found.append((metrics, {n: copy.deepcopy(p.grad) for n, p in model.named_parameters()}))
    (one, whole), (two, parts) = found
    assert two == pytest.approx(one, rel=1e-4)
    for name, grad in whole.items():
        torch.testing.assert_close(parts[name], grad, rtol=1e-3, atol=1e-6, msg=name)
