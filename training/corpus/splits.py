"""Which dialogue goes to training, validation and test. Knows dialogues by their fingerprint only.

A dialogue's place is a hash of what was said and the seed, so adding data moves no other dialogue; the one exception is
a corpus so small that a split would stay empty: then the dialogue next in line stands in, until data fill the split.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.corpus.errors import CorpusError
from training.corpus.layout import SPLITS

TRAIN, VALID, TEST = range(len(SPLITS))
"""Index of each split in `layout.SPLITS`."""
NOT_GIVEN: Final = -1


def fingerprint(turns: Sequence[str]) -> bytes:
    """Return 16 bytes that are the same for dialogues of the same words only."""
    # Cleaned turns hold no control characters, so the separator cannot occur in them.
    return hashlib.blake2b("\x1f".join(turns).encode("utf-8"), digest_size=16).digest()


def position(print_of_dialogue: bytes, seed: int) -> float:
    """Return the dialogue's place in [0, 1), uniform over dialogues, fixed for a fingerprint and a seed."""
    digest = hashlib.blake2b(print_of_dialogue + str(seed).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def assign(
    positions: npt.NDArray[np.float64], given: npt.NDArray[np.int8], valid: float, test: float
) -> npt.NDArray[np.int8]:
    """Return the split of each dialogue, [D] indices into `SPLITS`, from its position and its given split, both [D].

    A given split stays. Where training dialogues are given but none for validation (or test), that split is drawn from
    them like from dialogues without a given split. Every split whose share is not 0 gets a dialogue as long as
    there are three, or as many as there are splits. Raises CorpusError when no dialogue is left for training.
    """
    drawn = np.where(positions < valid, VALID, np.where(positions < valid + test, TEST, TRAIN)).astype(np.int8)
    splits = np.where(given == NOT_GIVEN, drawn, given).astype(np.int8)
    movable = given == NOT_GIVEN
    for split, share in ((VALID, valid), (TEST, test)):
        if share > 0 and not (given == split).any():
            splits[(given == TRAIN) & (drawn == split)] = split
            movable |= given == TRAIN
    for split, share in ((TRAIN, 1.0), (VALID, valid), (TEST, test)):
        if share > 0 and not (splits == split).any():
            _stand_in(splits, split, positions, movable)
    if not (splits == TRAIN).any():
        raise CorpusError("no dialogue is left for training: all of them are given to validation or test")
    return splits


def _stand_in(
    splits: npt.NDArray[np.int8], split: int, positions: npt.NDArray[np.float64], movable: npt.NDArray[np.bool_]
) -> None:
    """Move one dialogue into the empty `split`, from the largest that can spare one; training may take the last."""
    for donor in np.argsort(-np.bincount(splits, minlength=len(SPLITS)), kind="stable"):
        members = np.flatnonzero((splits == donor) & movable)
        if len(members) and (split == TRAIN or np.count_nonzero(splits == donor) > 1):
            nearest = positions[members].argmax() if split == TRAIN else positions[members].argmin()
            splits[members[nearest]] = split
            return
