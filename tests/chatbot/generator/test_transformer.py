from typing import cast

import torch

from chatbot.generator.interface import State
from chatbot.generator.transformer import TransformerState, TransformerTrunk
from chatbot.tokenizer import START, TURN
from tests.chatbot.tiny import generator, padded


@torch.no_grad()
def test_lanes_at_different_positions_step_together() -> None:
    """As in-flight batching needs: each lane has its own position in its own row of the cache."""
    model = generator("transformer")
    context = padded([[5, 6, TURN], [7, TURN], [8, 9, 10, TURN]])
    reply = torch.randint(3, 40, (3, 8), generator=torch.Generator().manual_seed(4))
    whole = model.score(model.encode(context), reply)
    read = [1, 5, 3]  # tokens that each lane has read, START among them
    states = []
    for lane, count in enumerate(read):
        state: State = model.encode(context).select(torch.tensor([lane]))
        for token in [START, *reply[lane, : count - 1].tolist()]:
            _, state = model.step(state, torch.tensor([token]))
        states.append(cast(TransformerState, state))
    joined = TransformerState(
        [(torch.cat([s.memory[i][0] for s in states]), torch.cat([s.memory[i][1] for s in states])) for i in range(2)],
        torch.cat([s.mask for s in states]),
        [(torch.cat([s.cache[i][0] for s in states]), torch.cat([s.cache[i][1] for s in states])) for i in range(2)],
        torch.cat([s.position for s in states]),
    ).select(torch.tensor([2, 0, 1]))
    for more in range(3):
        order = [(lane, read[lane] + more) for lane in (2, 0, 1)]
        logits, joined = model.step(joined, torch.stack([reply[lane, t - 1] for lane, t in order]))
        expected = torch.stack([whole[lane, t] for lane, t in order])
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)

    assert joined.position.tolist() == [6, 4, 8]


@torch.no_grad()
def test_positions_of_the_context_are_counted_from_its_end() -> None:
    """The newest tokens have the same positions whatever stands before them."""
    model = generator("transformer")
    trunk = model.trunk
    trunk.turn_marks.weight.zero_()
    assert isinstance(trunk, TransformerTrunk)
    trunk.context_positions.weight[1:] = 0
    marked = trunk.encode(torch.tensor([[5, 5, 5]])).memory[0][0]

    assert torch.allclose(marked[:, :, 0], marked[:, :, 1], atol=1e-6)
    assert not torch.allclose(marked[:, :, 1], marked[:, :, 2], atol=1e-3)
