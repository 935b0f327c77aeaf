from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from chatbot.bundle import load_bundle, save_bundle
from chatbot.compact import compress, expand
from chatbot.errors import BundleError
from chatbot.generator.trunk import Architecture
from chatbot.tokenizer import Tokenizer
from tests.chatbot.test_bundle import sign
from tests.chatbot.tiny import ARCHITECTURES, bundle


def test_expected_numbers() -> None:
    weights = {"matrix": torch.tensor([[1.0, -0.5], [0.0, 0.0]]), "vector": torch.tensor([0.3])}
    packed = compress(weights)
    assert packed["matrix"].tolist() == [[127, -64], [0, 0]]
    assert packed["matrix"].dtype == torch.int8
    assert packed["vector"] is weights["vector"]
    again = expand(packed)
    assert again.keys() == weights.keys()
    assert torch.allclose(again["matrix"], torch.tensor([[1.0, -64 / 127], [0.0, 0.0]]))


@given(st.integers(1, 6), st.integers(1, 6), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_nothing_is_further_off_than_half_a_step_and_twice_is_as_good_as_once(
    rows: int, columns: int, size: float, seed: int
) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    once = expand(compress({"w": weight}))["w"]
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((once - weight).abs() <= step * 0.5001).all()
    twice = expand(compress({"w": once}))["w"]
    assert torch.allclose(twice, once, rtol=1e-6, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_compact_bundle_loads_as_nearly_the_same_models(
    architecture: Architecture, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    made = bundle(architecture, tokenizer)
    save_bundle(made, tmp_path / "whole")
    save_bundle(made, tmp_path / "compact", compact=True)
    for model in ("generator.safetensors", "discriminator.safetensors"):
        small, large = (weighed(tmp_path / kind / model) for kind in ("compact", "whole"))
        assert small < 0.5 * large  # a quarter, but for scales and vectors, which count in a model as tiny as this one
    loaded = load_bundle(tmp_path / "compact")
    for name, value in loaded.generator.state_dict().items():
        own = made.generator.state_dict()[name]
        assert value.dtype == torch.float32
        assert (value - own).abs().max() <= own.abs().max() / 250, name


def weighed(path: Path) -> int:
    return sum(value.numel() * value.element_size() for value in load_file(path).values())


def without_scales(weights: dict[str, torch.Tensor]) -> None:
    del weights["trunk.embedding.weight.scale"]


def with_short_scales(weights: dict[str, torch.Tensor]) -> None:
    name = next(name for name in weights if name.endswith(".scale"))
    weights[name] = weights[name][:-1].clone()


def with_endless_scales(weights: dict[str, torch.Tensor]) -> None:
    name = next(name for name in weights if name.endswith(".scale"))
    weights[name] = weights[name] * float("inf")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (without_scales, "embedding.weight holds torch.int8, expected torch.float32"),
        (with_short_scales, r"not expected .*\.scale"),
        (with_endless_scales, "not finite"),
    ],
)
def test_codes_without_fitting_scales_are_refused(
    tokenizer: Tokenizer,
    tmp_path: Path,
    damage: Callable[[dict[str, torch.Tensor]], None],
    expected: str,
) -> None:
    directory = tmp_path / "compact"
    save_bundle(bundle("recurrent", tokenizer), directory, compact=True)
    weights = load_file(directory / "generator.safetensors")
    damage(weights)
    save_file(weights, directory / "generator.safetensors")
    sign(directory)
    with pytest.raises(BundleError, match=expected):
        load_bundle(directory)
