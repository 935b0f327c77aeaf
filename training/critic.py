"""The critic: what a reply is still expected to earn, read off the generator's own hidden states (actor-critic; for
text Bahdanau et al. 2017). Knows hidden states and returns; nothing of replies, judges or how the generator learns.

N replies, T reply tokens, D the generator's width, R parts of a reward.
"""

from typing import Any

import torch
from torch import Tensor, nn

from training import ranks


class Critic:
    """Predict returns from hidden states, which get no gradient: the generator is not bent to please the critic."""

    def __init__(self, width: int, parts: int, learning_rate: float, device: torch.device) -> None:
        last = nn.Linear(width, parts)
        nn.init.zeros_(last.weight)  # at first nothing is expected: learning begins as without a baseline
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), last).to(device)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=learning_rate, fused=True)

    def value(self, hidden: Tensor) -> Tensor:
        """Return what is expected [N, T, R] of hidden states [N, T, D] that have not read the token to be judged."""
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            values: Tensor = self.head(hidden.float())
        return values

    def learn(self, hidden: Tensor, returns: Tensor, mask: Tensor) -> float:
        """Take one step towards returns [N, T, R] where mask [N, T] is true; return the squared error before it."""
        with torch.enable_grad(), torch.autocast(hidden.device.type, enabled=False):
            error = self.head(hidden.detach().float()) - returns.detach().float()
            loss = (error.square().sum(-1) * mask).sum() / mask.sum().clamp(min=1) * ranks.weight(mask.sum())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # in here too: what surrounds the call would be the precision of the way back
        ranks.average_gradients(self.head.parameters())
        self.optimizer.step()
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return what must be kept, weights too: no bundle holds a critic."""
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
