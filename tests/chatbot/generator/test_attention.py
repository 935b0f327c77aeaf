"""The two ways of attention agree, and so do their gradients."""

import pytest
import torch
from torch.nn import functional

from chatbot.generator.attention import attend, causal_mask


@pytest.mark.parametrize("causal", [True, False])
def test_products_are_what_fused_attention_gives_both_ways(causal: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 2, 5, 4, generator=rng) for _ in range(3)]
    mask = causal_mask(5, parts[0].device) if causal else torch.rand(3, 1, 1, 5, generator=rng) > 0.4
    mask = mask | (torch.arange(5) == 0)
    found = []
    for way in (attend, functional.scaled_dot_product_attention):
        query, key, value = (part.clone().requires_grad_() for part in parts)
        seen = way(query, key, value, mask)
        (seen * torch.arange(4.0)).sum().backward()
        found.append((seen.detach(), query.grad, key.grad, value.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_without_gradients_in_fp32_and_in_bf16_it_is_the_same_attention() -> None:
    query, key, value = (torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    mask = torch.tensor([[True, True, False], [True, True, True]])[:, None, None]
    with torch.no_grad():
        exact = attend(query, key, value, mask)
        rough = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), mask)
    torch.testing.assert_close(exact, functional.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, atol=0.03, rtol=0.03)
