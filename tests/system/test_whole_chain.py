"""From a file of dialogues to a rated reply, through the command line and HTTP."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest


def ask(address: str, model: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "Do you like my cat?"}], **more}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_prepared_dataset_names_its_licence_and_its_rejected_line(prepared: Path, dialogues: Path) -> None:
    about = json.loads((prepared / "dataset.json").read_text(encoding="utf-8"))
    assert about["licenses"] == {"CC0-1.0": 300}
    rejected = [json.loads(line) for line in (prepared / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(Path(row["file"]).name, row["line"]) for row in rejected] == [(dialogues.name, 8)]


def test_a_run_leaves_its_config_metrics_samples_and_bundle(runs: Path) -> None:
    run = runs / "cseqgan"
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"] == "cseqgan"
    assert config["config"]["adversarial"]["samples"] == 4  # the preset's, not the default
    stages = [json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(stages) == {"discriminator", "adversarial"}
    last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    named = {"valid_nll", "valid_distinct_1", "valid_distinct_2", "valid_top_reply_share", "valid_mean_length"}
    assert named | {"d_accuracy"} <= last.keys()
    assert list((run / "tensorboard").iterdir())
    sample = json.loads((run / "samples.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert {"context", "human", "generator"} <= sample.keys()
    assert sorted(p.name for p in (run / "bundle").iterdir()) == [
        "README.md",
        "config.json",
        "discriminator.safetensors",
        "generator.safetensors",
        "tokenizer.json",
    ]


def test_a_file_of_contexts_is_answered_in_order_and_the_same_again(
    rejoinder: Callable[..., Any], runs: Path, tmp_path: Path
) -> None:
    contexts = tmp_path / "contexts.jsonl"
    rows: list[dict[str, Any]] = [{"id": i, "turns": [f"Do you like my {animal}?"]} for i, animal in enumerate("猫狗")]
    rows[0]["note"] = "half of a pair: \ud800"  # not ours to judge: it goes through as it came
    rows.append({"id": 2, "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "Hello"}]})
    contexts.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    outputs = []
    for name in ("first.jsonl", "second.jsonl"):
        arguments = ["--model", runs / "cseqgan" / "bundle", "--in", contexts, "--out", tmp_path / name]
        done = rejoinder("generate", *arguments, "--n", "2", "--best-of", "4", "--seed", "5", "--precision", "fp32")
        assert done.returncode == 0, done.stderr
        outputs.append((tmp_path / name).read_text(encoding="utf-8"))
    assert outputs[0] == outputs[1]
    answers = [json.loads(line) for line in outputs[0].splitlines()]
    assert [a["id"] for a in answers] == [0, 1, 2]
    assert answers[0]["note"] == rows[0]["note"]
    for answer in answers:
        scores = [reply["discriminator_score"] for reply in answer["replies"]]
        assert len(scores) == 2
        assert scores == sorted(scores, reverse=True)


def test_a_bad_context_stops_generate_with_its_line_and_leaves_no_file(
    rejoinder: Callable[..., Any], runs: Path, tmp_path: Path
) -> None:
    contexts = tmp_path / "contexts.jsonl"
    for bad, expected in (
        ('{"turns": "not a list"}', "line 2: a turn is not a text"),
        ("{", "line 2: not JSON"),
        ('{"turns": []}', "line 2: no turns"),
        ('{"turns": [" "]}', "line 2: turn 0 is empty"),
    ):
        contexts.write_text('{"turns": ["Hello"]}\n' + bad + "\n", encoding="utf-8")
        target = tmp_path / "replies.jsonl"
        done = rejoinder("generate", "--model", runs / "mle" / "bundle", "--in", contexts, "--out", target)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["contexts.jsonl"]


def test_a_served_reply_is_rated_and_the_rating_outlives_a_restart(
    models: Path, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    with serve(models, tmp_path / "state") as service:
        listed = httpx.get(f"{service.address}/v1/models").json()
        assert {model["id"] for model in listed["data"]} == {"mle", "cseqgan"}
        reply = ask(service.address, "cseqgan", seed=3, best_of=4)
        assert reply["choices"][0]["message"]["role"] == "assistant"
        assert 0 < reply["choices"][0]["discriminator_score"] < 1
        assert (
            ask(service.address, "cseqgan", seed=3, best_of=4)["choices"][0]["message"]
            == (reply["choices"][0]["message"])
        )
        rating = {"reply_id": reply["id"], "thumb": -1, "comment": "没有意思"}
        assert httpx.post(f"{service.address}/v1/ratings", json=rating).status_code == 201
    with serve(models, tmp_path / "state") as service:
        (kept,) = httpx.get(f"{service.address}/v1/ratings").json()["data"]
        assert (kept["reply_id"], kept["thumb"], kept["comment"]) == (reply["id"], -1, "没有意思")


def test_many_contexts_are_answered_in_one_call(models: Path, tmp_path: Path, serve: Callable[..., Any]) -> None:
    with serve(models, tmp_path / "state") as service:
        body = {"model": "mle", "contexts": [["Hello"], ["Do you like my 狗?", "Yes", "Why?"]], "seed": 1}
        answer = httpx.post(f"{service.address}/v1/replies", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) == 2


def test_a_service_without_models_says_so_and_one_with_a_broken_bundle_serves_the_others(
    rejoinder: Callable[..., Any], models: Path, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    missing = rejoinder("serve", "--models", tmp_path / "nowhere", "--state", tmp_path / "state")
    assert missing.returncode == 1
    assert "nowhere" in missing.stderr
    assert "Traceback" not in missing.stderr
    mixed = tmp_path / "mixed"
    shutil.copytree(models / "mle", mixed / "good")
    shutil.copytree(models / "mle", mixed / "broken")
    with (mixed / "broken" / "generator.safetensors").open("r+b") as file:
        file.truncate(1000)
    with serve(mixed, tmp_path / "state") as service:
        listed = httpx.get(f"{service.address}/v1/models").json()
        assert [model["id"] for model in listed["data"]] == ["good"]


@pytest.mark.parametrize("recipe", ["mle", "cseqgan"])
def test_a_run_is_not_overwritten_and_a_finished_one_resumes_to_nothing(
    rejoinder: Callable[..., Any], prepared: Path, runs: Path, recipe: str
) -> None:
    weights = runs / recipe / "bundle" / "generator.safetensors"
    before = weights.read_bytes()
    again = rejoinder("train", recipe, "--data", prepared, "--out", runs / recipe, "--preset", "toy")
    assert again.returncode == 1
    assert "--resume" in again.stderr
    resumed = rejoinder("train", "--resume", "--out", runs / recipe)
    assert resumed.returncode == 0, resumed.stderr
    assert weights.read_bytes() == before
