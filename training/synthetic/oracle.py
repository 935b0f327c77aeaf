"""The oracle of SeqGAN's synthetic experiment: an LSTM with fixed random parameters that plays real language.

Because it is known, two things can be measured exactly that no dialogue corpus tells: how likely generated sequences
are in the real language (NLL_oracle), and how much of the real language a generator knows (NLL_gen).
"""

import zipfile
from pathlib import Path

import numpy as np
import torch

from training.errors import RunError
from training.synthetic.lstm import SequenceModel

VOCABULARY, LENGTH, SIZE = 5000, 20, 32
"""The published experiment's: tokens, tokens of a sequence, embedding and hidden units."""

_GATES = ("i", "f", "c", "og")
"""The published names of the gates, in the order in which torch keeps them: input, forget, candidate, output."""


def load_oracle(path: Path) -> SequenceModel:
    """Read the published parameters from an .npz file with the arrays of the experiment.

    Arrays: embedding [V, E], Wi Wf Wc Wog [E, H], Ui Uf Uc Uog [H, H], bi bf bc bog [H], Wo [H, V], bo [V]. Raises
    RunError that names the array which is missing or has another shape.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: torch.from_numpy(np.asarray(file[name], np.float32)) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RunError(f"{path}: cannot be read as an .npz file of arrays ({error})") from None
    embedding = arrays.get("embedding", torch.empty(0))
    output = arrays.get("Wo", torch.empty(0))
    if embedding.ndim != 2 or output.ndim != 2:
        raise RunError(
            f"{path}: expected the matrices embedding and Wo, found {', '.join(sorted(arrays)) or 'nothing'}"
        )
    vocabulary, size, hidden = len(embedding), embedding.shape[1], len(output)
    expected: dict[str, tuple[int, ...]] = {"Wo": (hidden, vocabulary), "bo": (vocabulary,)}
    for gate in _GATES:
        expected |= {f"W{gate}": (size, hidden), f"U{gate}": (hidden, hidden), f"b{gate}": (hidden,)}
    for name, shape in expected.items():
        if name not in arrays:
            raise RunError(f"{path}: array {name} is missing")
        if tuple(arrays[name].shape) != shape:
            raise RunError(f"{path}: array {name} is {tuple(arrays[name].shape)}, expected {shape}")
    oracle = SequenceModel(vocabulary, LENGTH, size, hidden)
    oracle.load_state_dict(
        {
            "embedding.weight": embedding,
            "lstm.weight_ih_l0": torch.cat([arrays[f"W{gate}"].T for gate in _GATES]),
            "lstm.weight_hh_l0": torch.cat([arrays[f"U{gate}"].T for gate in _GATES]),
            "lstm.bias_ih_l0": torch.cat([arrays[f"b{gate}"] for gate in _GATES]),
            "lstm.bias_hh_l0": torch.zeros(4 * hidden),  # torch has two biases where the experiment has one
            "output.weight": output.T,
            "output.bias": arrays["bo"],
        }
    )
    return oracle.eval().requires_grad_(False)


def draw_oracle(seed: int, vocabulary: int = VOCABULARY, length: int = LENGTH, size: int = SIZE) -> SequenceModel:
    """Return an oracle with parameters from a standard normal distribution, as the paper's was drawn."""
    oracle = SequenceModel(vocabulary, length, size, size)
    oracle.initialise(1.0, torch.Generator().manual_seed(seed))
    return oracle.eval().requires_grad_(False)
