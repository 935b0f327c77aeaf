"""Sums in whole registers are those of plain loops, for rows of every length, and nothing beyond a row is touched."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("numba")

from chatbot.engine.fused import registers
from chatbot.engine.fused.compiling import compiled


@compiled
def score(query: int, keys: int, stride: int, count: int, width: int, out: int) -> None:
    registers.score(query, keys, stride, count, width, out)


@compiled
def score_remembered(query: int, keys: int, stride: int, count: int, width: int, out: int) -> None:
    registers.score_remembered(query, keys, stride, count, width, out)


@compiled
def blend(weights: int, values: int, stride: int, count: int, width: int, out: int) -> None:
    registers.blend(weights, values, stride, count, width, out)


@compiled
def blend_remembered(weights: int, values: int, stride: int, count: int, width: int, out: int) -> None:
    registers.blend_remembered(weights, values, stride, count, width, out)


@compiled
def remember(row: int, width: int, out: int) -> None:
    registers.remember(row, width, out)


WIDTHS = (1, 8, 15, 16, 17, 32, 48, 63)
COUNTS = (0, 1, 5, 36)
SENTINEL = 7.0


def rows(count: int, width: int, kind: torch.dtype) -> Tensor:
    """Return rows of random numbers, each with three more behind it that belong to nobody."""
    made = torch.full((count, width + 3), float("nan"), dtype=kind)
    made[:, :width] = torch.randn(count, width)
    return made


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", WIDTHS)
def test_scores_and_blends_are_those_of_the_rows_alone(width: int, kind: torch.dtype) -> None:
    torch.manual_seed(width)
    scoring, blending = (score, blend) if kind is torch.float32 else (score_remembered, blend_remembered)
    for count in COUNTS:
        kept, query, weights = rows(count, width, kind), torch.randn(width), torch.randn(count)
        stride = (width + 3) * kind.itemsize
        scores, seen = torch.full((count + 1,), SENTINEL), torch.full((width + 1,), SENTINEL)
        scoring(query.data_ptr(), kept.data_ptr(), stride, count, width, scores.data_ptr())
        blending(weights.data_ptr(), kept.data_ptr(), stride, count, width, seen.data_ptr())
        exact = kept[:, :width].double()
        assert torch.allclose(scores[:count].double(), exact @ query.double(), atol=1e-4)
        assert torch.allclose(seen[:width].double(), weights.double() @ exact, atol=1e-4)
        assert (scores[count], seen[width]) == (SENTINEL, SENTINEL)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_remembered_is_rounded_to_the_nearest(width: int) -> None:
    torch.manual_seed(width)
    for scale in (1e-30, 1.0, 1e30):
        row, out = torch.randn(width) * scale, torch.full((width + 1,), SENTINEL, dtype=torch.bfloat16)
        remember(row.data_ptr(), width, out.data_ptr())
        assert out[:width].equal(row.bfloat16())
        assert out[width] == SENTINEL


def test_what_is_no_number_is_remembered_as_none() -> None:
    row = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, 1 + 2**-8, 1 + 3 * 2**-8])  # and two ties
    out = torch.empty(len(row), dtype=torch.bfloat16)
    remember(row.data_ptr(), len(row), out.data_ptr())
    assert out.nan_to_num().equal(row.bfloat16().nan_to_num())
    assert out[0].isnan()
    assert (out[1], out[2]) == (float("inf"), -float("inf"))
