"""The service on a real bundle: tiny, with random weights, so that only the plumbing is judged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from chatbot.bot import Bot
from chatbot.bundle import Bundle, Limits, save_bundle
from chatbot.discriminator import Discriminator
from chatbot.errors import RejoinderError
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.models_directory import load_models
from chatbot.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with the models `judged`, `plain` and a truncated `cut`."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = Tokenizer.train(["hello there", "how are you", "你好"], 300)
    limits = Limits(context_tokens=24, reply_tokens=8)
    shapes = (tokenizer.vocabulary_size, limits.context_tokens, limits.reply_tokens)
    config = TrunkConfig(width=16, encoder_layers=1, decoder_layers=1, heads=2, feedforward=32, dropout=0.0)
    torch.manual_seed(0)
    for name in ("judged", "plain", "cut"):
        discriminator = Discriminator(config, *shapes) if name == "judged" else None
        bundle = Bundle(Seq2SeqGenerator(config, *shapes), discriminator, tokenizer, limits, card=f"# {name}")
        save_bundle(bundle, folder / name)
    weights = folder / "cut" / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return folder


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(models=models, state=tmp_path_factory.mktemp("state"), device="cpu")
    with TestClient(create_app(settings)) as client:  # the app loads the models itself
        yield client


def ask(client: TestClient, model: str = "judged", text: str = "hello", **more: object):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body)


def test_the_good_ones_are_loaded_and_the_truncated_one_is_named(client: TestClient) -> None:
    ready = client.get("/health/ready").json()
    assert ready["models"] == ["judged", "plain"]
    assert "truncated" in ready["broken_models"]["cut"]
    assert [entry["card"] for entry in client.get("/v1/models").json()["data"]] == ["# judged", "# plain"]


def test_a_seed_repeats_the_reply(client: TestClient) -> None:
    first = ask(client, temperature=1.5, n=3).json()
    again = ask(client, temperature=1.5, n=3, seed=first["seed"]).json()
    said = [[choice["message"]["content"] for choice in body["choices"]] for body in (first, again)]
    assert said[0] == said[1]
    assert len(set(said[0])) > 1
    assert 0 < first["usage"]["completion_tokens"] <= 24


def test_the_best_come_first(client: TestClient) -> None:
    scores = [c["discriminator_score"] for c in ask(client, n=3, best_of=8, temperature=2).json()["choices"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert ask(client, model="plain", best_of=2).json()["error"]["param"] == "best_of"
    assert ask(client, model="plain").json()["choices"][0]["discriminator_score"] is None


def test_a_long_history_keeps_its_newest_turns(client: TestClient) -> None:
    contexts = [["one two three four five six", "seven eight nine ten", "你好"], ["x" * 5000]]
    first, second = client.post("/v1/replies", json={"model": "plain", "contexts": contexts}).json()["data"]
    assert 1 <= first["turns_used"] < 3
    assert second["context_tokens"] == 24


@pytest.mark.parametrize(
    ("more", "param"),
    [({"temperature": 3}, "temperature"), ({"top_p": 0}, "top_p"), ({"min_tokens": 1000}, "min_tokens")],
)
def test_what_the_decoding_refuses_is_named(client: TestClient, more: dict[str, object], param: str) -> None:
    response = ask(client, **more)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_everything_at_its_edge_is_answered(client: TestClient) -> None:
    edges = [
        {"temperature": 0},
        {"top_k": 1},
        {"top_p": 1e-9},
        {"no_repeat_ngram": 1},
        {"repetition_penalty": 10},
        {"max_tokens": 1},
        {"min_tokens": 0},
        {"seed": 2**63 - 1},
        {"text": "\u202e🙂\u0301" * 50},
    ]
    for more in edges:
        response = ask(client, **more)
        assert response.status_code == 200, (more, response.text)


def test_only_broken_models_end_the_start_with_one_line(models: Path, tmp_path: Path) -> None:
    (tmp_path / "cut").symlink_to(models / "cut")
    with pytest.raises(RejoinderError, match="truncated") as caught:
        load_models(tmp_path, Bot.load)
    assert "\n" not in str(caught.value)
