"""The demonstration, at the size of a toy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from chatbot.bundle import load_bundle
from chatbot.progress import Display
from chatbot.released import released_bundles
from chatbot.tokenizer import Tokenizer
from tests.system.conftest import serving
from training.corpus.dataset import PreparedDataset
from training.demo import run_demo

GOLDEN = Path(__file__).parents[1] / "golden"


def digests(models: Path) -> dict[str, int]:
    return {str(p.relative_to(models)): p.stat().st_mtime_ns for p in sorted(models.rglob("*.safetensors"))}


def test_the_demo_trains_both_models_prints_their_table_and_uses_them_again(
    rejoinder: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("chitchat_dataset", reason="the packaged dialogues are an extra")
    arguments = ["demo", "--directory", tmp_path, "--preset", "toy", "--limit", "60", "--no-serve"]
    done = rejoinder(*arguments)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    starts = ["system", "human", "Kneser-Ney trigram", "MLE ", "MLE, best of 8", "adversarial ", "adversarial, best of"]
    assert [line.startswith(start) for line, start in zip(table, starts, strict=False)] == [True] * len(starts)
    assert "\x1b" not in done.stdout + done.stderr  # not a terminal: no colours, no bars
    assert len(done.stderr.splitlines()) < 60
    first = digests(tmp_path / "models")
    assert {Path(name).parts[0] for name in first} == {"mle", "cseqgan"}
    again = rejoinder(*arguments)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "models") == first
    assert again.stdout == done.stdout


def test_the_demo_that_begins_with_a_released_bundle_serves_it_first(tmp_path: Path) -> None:
    pytest.importorskip("chitchat_dataset", reason="the packaged dialogues are an extra")
    served: list[list[str]] = []

    def ready(models: Path) -> None:
        served.append(sorted(path.name for path in models.iterdir()))

    with Display() as display:
        models, table = run_demo(tmp_path, "toy", 60, display, start=GOLDEN / "recurrent", ready=ready)
    assert served == [["mle"]]  # before anything was trained
    start, kept = load_bundle(GOLDEN / "recurrent"), load_bundle(models / "mle")
    assert torch.equal(start.generator.bias, kept.generator.bias)
    dataset = PreparedDataset.open(tmp_path / "data")
    assert Tokenizer.load(dataset.tokenizer_path).same_as(start.tokenizer)
    assert not torch.equal(start.generator.bias, load_bundle(models / "cseqgan").generator.bias)
    assert table.splitlines()[-2].startswith("adversarial, best of 8")


@pytest.mark.skipif(released_bundles() is None, reason="there are no released bundles here")
def test_the_service_without_models_of_ones_own_serves_the_released_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(None, tmp_path / "state") as service:
        names = {model["id"] for model in httpx.get(f"{service.address}/v1/models").json()["data"]}
        assert {"en", "zh"} <= names
        body = {"model": "en", "messages": [{"role": "user", "content": "Hi! How are you?"}], "seed": 1, "best_of": 4}
        answer = httpx.post(f"{service.address}/v1/chat/completions", json=body, timeout=60)
        assert answer.json()["choices"][0]["message"]["content"]
