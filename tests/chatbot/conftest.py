"""What the tests of the chatbot share."""

from collections.abc import Iterator

import pytest
import torch

from chatbot.generator.trunk import Architecture
from chatbot.tokenizer import Tokenizer
from tests.chatbot.tiny import ARCHITECTURES, TEXTS


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Compute on one core: models this small lose by sharing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    """Return each architecture in turn."""
    found: Architecture = request.param
    return found


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Return a tokenizer of a few merges."""
    return Tokenizer.train(TEXTS, 280)
