"""Freed memory is kept: the very pages come back without the kernel's help."""

import resource
import sys

import pytest
import torch

from chatbot.memory import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux counts them")
def test_a_tensor_asked_for_again_costs_no_new_pages() -> None:
    keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(16 * 2**20)  # 64 MB: glibc's default gives such blocks back at once
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # Small things may take a bite of the block in between, so a few rounds pass until it fits again.
    assert min(faults() for _ in range(6)) < 1000  # 16,384 pages of 4 KB


def test_asking_twice_does_no_harm() -> None:
    keep_freed_memory()
    keep_freed_memory()
    assert torch.ones(8).sum() == 8
