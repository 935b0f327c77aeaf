"""A small prepared corpus whose right replies are known, and one thread, so that runs can be compared bit for bit."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare

SOUNDS = {
    "cow": "moo", "dog": "woof", "cat": "meow", "sheep": "baa", "duck": "quack", "pig": "oink", "owl": "hoo",
    "bee": "buzz", "hen": "cluck", "crow": "caw", "frog": "ribbit", "mouse": "squeak",
}  # fmt: skip
OPENINGS = ("tell me", "please say", "do you know", "i wonder", "say")
PLACES = ("here", "at home", "on the farm", "at night", "in town", "in spring", "by the sea", "today")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums over several threads may differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_dialogues(path: Path, *, answer: str = "the {animal} says {sound}") -> Path:
    """Write 480 dialogues of a question and its answer."""
    with path.open("w", encoding="utf-8") as file:
        for opening, place, (animal, sound) in itertools.product(OPENINGS, PLACES, SOUNDS.items()):
            turns = [f"{opening} {place} : {animal} ?", answer.format(animal=animal, sound=sound)]
            file.write(json.dumps({"turns": turns}) + "\n")
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a prepared dataset with vocabulary 320."""
    folder = tmp_path_factory.mktemp("corpus")
    source = write_dialogues(folder / "dialogues.jsonl")
    prepare([str(source)], PrepareOptions(out=folder / "data", vocabulary=320, valid=0.1, test=0.05))
    return folder / "data"
