"""The LSTM language: exact draws, exact likelihoods, and the published oracle."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.drawing import draw_tokens
from training.errors import RunError
from training.synthetic.lstm import SequenceModel, sequence_nll
from training.synthetic.oracle import LENGTH, draw_oracle, load_oracle

ORACLE = Path(__file__).parents[4] / "shared" / "oracle" / "seqgan_oracle.npz"


def tiny(vocabulary: int = 7, length: int = 4, seed: int = 0) -> SequenceModel:
    model = SequenceModel(vocabulary, length, 5, 6)
    model.initialise(1.0, torch.Generator().manual_seed(seed))
    return model.eval()


def test_a_token_is_drawn_by_inversion() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))
    points = torch.tensor([0.0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 0.999])
    assert draw_tokens(logits.expand(8, -1), points).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000), st.floats(0.0, 0.999999))
def test_blocks_give_what_one_running_sum_gives(vocabulary: int, seed: int, uniform: float) -> None:
    logits = torch.randn(3, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3
    drawn = draw_tokens(logits, torch.full((3,), uniform))
    cumulative = torch.softmax(logits.double(), 1).cumsum(1)
    for row, token in zip(cumulative, drawn.tolist(), strict=True):
        below = float(row[token - 1]) if token else 0.0
        assert below - 1e-5 <= uniform * float(row[-1]) <= float(row[token]) + 1e-5


def test_an_impossible_token_is_never_drawn() -> None:
    logits = torch.full((2000, 130), -math.inf)
    logits[:, [3, 70]] = 0.0
    uniform = torch.linspace(0, 1 - 1e-7, 2000)
    assert set(draw_tokens(logits, uniform).tolist()) == {3, 70}


def test_log_probabilities_are_those_of_a_step_by_step_reading() -> None:
    model, sequences = tiny(), torch.tensor([[1, 5, 2, 2], [0, 0, 6, 3]])
    expected = torch.empty(2, 4)
    with torch.no_grad():
        carried, before = None, torch.zeros(2, 1, dtype=torch.long)
        for t in range(4):
            states, carried = model.advance(before, carried)
            before = sequences[:, t : t + 1]
            expected[:, t] = torch.log_softmax(model.output(states[:, 0]), 1).gather(1, before).squeeze(1)
        torch.testing.assert_close(model.log_probabilities(sequences), expected)


def test_all_sequences_together_have_probability_one_and_draws_follow_it() -> None:
    model = tiny(vocabulary=3, length=3)
    everyone = torch.cartesian_prod(*[torch.arange(3)] * 3)
    with torch.no_grad():
        chances = model.log_probabilities(everyone).sum(1).exp()
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-5)
    drawn = model.draw(20_000, torch.Generator().manual_seed(1))
    counts = torch.bincount(drawn @ torch.tensor([9, 3, 1]), minlength=27)
    chi_squared = float(((counts - 20_000 * chances).square() / (20_000 * chances)).sum())
    assert chi_squared < 60  # 26 degrees of freedom: above 54 once in a thousand


def test_a_colder_model_draws_likelier_sequences() -> None:
    model, rng = tiny(), torch.Generator().manual_seed(2)
    cold, warm = (float(sequence_nll(model, model.draw(500, rng, t)).mean()) for t in (0.5, 1.0))
    assert cold < warm - 0.1


def test_going_on_from_a_prefix_keeps_it_and_reads_on_from_it() -> None:
    model, rng = tiny(vocabulary=3, length=3), torch.Generator().manual_seed(3)
    begun = torch.tensor([[2, 1]]).expand(20_000, -1)
    with torch.no_grad():
        _, carried = model.advance(torch.tensor([[0, 2]]).expand(20_000, -1), None)
        drawn = model.go_on(begun, carried, rng)
        expected = model.log_probabilities(torch.tensor([[2, 1, v] for v in range(3)]))[:, 2].exp()
    assert (drawn[:, :2] == begun).all()
    shares = torch.bincount(drawn[:, 2], minlength=3) / 20_000
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)


def test_an_oracle_drawn_from_a_seed_is_that_seeds() -> None:
    one, same, other = (draw_oracle(seed, 50, 5, 4).output.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.skipif(not ORACLE.is_file(), reason="the published oracle is not on this machine")
def test_the_published_oracle_has_its_published_entropy() -> None:
    oracle = load_oracle(ORACLE)
    rng = torch.Generator().manual_seed(0)
    assert float(sequence_nll(oracle, oracle.draw(2000, rng)).mean()) == pytest.approx(5.748, abs=0.03)
    uniform = torch.randint(0, 5000, (300, LENGTH), generator=rng)
    assert float(sequence_nll(oracle, uniform).mean()) == pytest.approx(11.43, abs=0.1)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    gates = ("i", "f", "c", "og")
    made = {"embedding": rng.normal(size=(9, 3)), "Wo": rng.normal(size=(4, 9)), "bo": rng.normal(size=9)}
    for gate in gates:
        made |= {
            f"W{gate}": rng.normal(size=(3, 4)),
            f"U{gate}": rng.normal(size=(4, 4)),
            f"b{gate}": rng.normal(size=4),
        }
    return made


def test_a_file_is_read_as_the_equations_say(tmp_path: Path) -> None:
    made = arrays()
    np.savez(tmp_path / "oracle.npz", **made)
    oracle = load_oracle(tmp_path / "oracle.npz")
    x, h, c = made["embedding"][0], np.zeros(4), np.zeros(4)

    def gate(name: str) -> np.ndarray:
        return x @ made[f"W{name}"] + h @ made[f"U{name}"] + made[f"b{name}"]

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    sequence, total = [4, 7, 1], 0.0
    for token in sequence:
        c, o = sigmoid(gate("f")) * c + sigmoid(gate("i")) * np.tanh(gate("c")), sigmoid(gate("og"))
        h = o * np.tanh(c)
        logits = h @ made["Wo"] + made["bo"]
        total += float(logits[token] - np.log(np.exp(logits).sum()))
        x = made["embedding"][token]
    assert float(oracle.log_probabilities(torch.tensor([sequence])).sum()) == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Wi": None}, "array Wi is missing"),
        ({"bf": np.zeros(3)}, r"array bf is \(3,\), expected \(4,\)"),
        ({"Wo": np.zeros(4)}, "expected the matrices embedding and Wo"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_array(
    change: dict[str, np.ndarray | None], message: str, tmp_path: Path
) -> None:
    made = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    np.savez(tmp_path / "oracle.npz", **made)
    with pytest.raises(RunError, match=message):
        load_oracle(tmp_path / "oracle.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04broken"])
def test_what_is_no_archive_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "oracle.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"oracle.npz: cannot be read as an .npz file"):
        load_oracle(tmp_path / "oracle.npz")
    with pytest.raises(RunError, match="cannot be read"):
        load_oracle(tmp_path / "missing.npz")
