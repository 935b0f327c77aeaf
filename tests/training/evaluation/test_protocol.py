"""The whole protocol on tiny models: what is in a report, that it can be interrupted, and what it refuses."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.test_systems import make_bundle
from training.errors import ConfigError, RunError
from training.evaluation.options import EvaluationOptions
from training.evaluation.protocol import evaluate
from training.evaluation.sampling import Sampler
from training.evaluation.systems import SystemSpec

TINY = EvaluationOptions(
    contexts=16,
    training_contexts=16,
    best_of=2,
    draws=20,
    temperatures=(0.5, 1.0),
    top_ps=(0.9,),
    samples=2,
    device="cpu",
)


@pytest.fixture(scope="module")
def specs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[SystemSpec]:
    """Give MLE with two training seeds and no D, and GAN with one and a D, in a run's directory."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = corpus / "tokenizer.json"
    gan = make_bundle(folder / "gan" / "bundle", tokenizer, seed=2)
    rows = [{"step": s, "stage": "adversarial", "reward": s / 10, "g_gradient_norm": 2.0**-s, "valid_nll": 3.0,
             "learning_rate": 0.1} for s in range(1, 4)]  # fmt: skip
    (gan.parent / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 4, "st')
    return [
        SystemSpec("MLE", make_bundle(folder / "mle0", tokenizer, seed=0, judged=False)),
        SystemSpec("MLE", make_bundle(folder / "mle1", tokenizer, seed=1, judged=False)),
        SystemSpec("GAN", gan),
    ]


def read(out: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert tree.pop("created")
    return tree


def numbers(tree: Any) -> list[float]:
    if isinstance(tree, Mapping):
        return [number for value in tree.values() for number in numbers(value)]
    if isinstance(tree, list):
        return [number for value in tree for number in numbers(value)]
    return [tree] if isinstance(tree, float) else []


@pytest.fixture(scope="module")
def out(specs: list[SystemSpec], corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory of a finished evaluation."""
    directory = tmp_path_factory.mktemp("finished") / "report"
    evaluate(specs, corpus, directory, TINY)
    return directory


def test_a_report_has_every_system_setting_and_comparison(out: Path) -> None:
    report = read(out)
    assert [row["system"] for row in report["summaries"]] == [
        "MLE", "GAN", "GAN + best of 2 by D", "human", "human shuffled"
    ]  # fmt: skip
    drawn = {(r["system"], r["seed"], r["setting"]["temperature"], r["setting"]["top_p"]) for r in report["rows"]}
    settings = [(0.5, 1.0), (1.0, 1.0), (1.0, 0.9)]
    assert drawn == {
        *(("MLE", seed, *s) for seed in (0, 1) for s in settings),
        *(("GAN", 0, *s) for s in settings),
        *(("GAN + best of 2 by D", 0, *s) for s in settings[:2]),  # reranked twins follow the temperatures only
        ("human", 0, 1.0, 1.0),
        ("human shuffled", 0, 1.0, 1.0),
    }
    compared = [(c["system"], c["measure"]) for c in report["comparisons"]]
    assert compared == [(s, m) for s in ("GAN", "GAN + best of 2 by D") for m in ("adver_suc", "relevance", "forward")]
    assert all(math.isfinite(number) for number in numbers(report))
    assert (report["parameters"]["test_contexts"], report["parameters"]["baseline"]) == (16, "MLE")
    kinds = {(e["kind"], e["variant"]) for e in report["evaluators"] if e["system"] == "GAN"}
    assert len(kinds) == 6
    assert {c["kind"] for c in report["controls"]} == {"ngrams", "transformer"}
    assert [list(sample["replies"]) for sample in report["samples"]] == [
        ["human", "MLE", "GAN", "GAN + best of 2 by D"]
    ] * 2


def test_measures_are_where_they_make_sense(out: Path) -> None:
    summaries = {row["system"]: row["values"] for row in read(out)["summaries"]}
    assert {"perplexity", "distinct_3", "frechet_pair", "reverse", "adver_suc_slow"} <= summaries["MLE"].keys()
    assert "perplexity" not in summaries["GAN + best of 2 by D"]  # its distribution has no closed form
    assert "perplexity" not in summaries["human"]
    assert summaries["MLE"]["perplexity"]["value"] > 300  # untrained, 320 tokens
    assert summaries["MLE"]["distinct_2"]["low"] <= summaries["MLE"]["distinct_2"]["high"]
    # Shuffling changes what belongs together, not what is said.
    human, shuffled = summaries["human"], summaries["human shuffled"]
    for name in ("top_1", "distinct_replies", "length"):
        assert human[name]["value"] == shuffled[name]["value"]
    assert human["relevance"]["value"] > shuffled["relevance"]["value"]


def test_training_curves_of_the_run_are_shown(out: Path) -> None:
    (run,) = read(out)["training"]
    assert (run["run"], run["systems"]) == ("gan", ["GAN"])
    assert set(run["series"]) == {
        "adversarial: reward", "adversarial: g_gradient_norm", "adversarial: valid_perplexity"
    }  # fmt: skip
    assert run["series"]["adversarial: g_gradient_norm"] == [[1, 0.5], [2, 0.25], [3, 0.125]]
    assert "Stage: adversarial." in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("stage", "done"), [("drawing replies", 100), ("evaluators", 5)])
def test_an_interrupted_evaluation_goes_on_and_ends_the_same(
    specs: list[SystemSpec], corpus: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    stage: str, done: int,
) -> None:  # fmt: skip
    drawn: list[str] = []
    draw = Sampler._draw

    def counted(self: Sampler, *arguments: Any) -> list[str]:
        drawn.append(self.digest)
        return draw(self, *arguments)

    def interrupt(told: str, now: int, total: int | None) -> None:
        if told == stage and now >= done:
            raise KeyboardInterrupt

    monkeypatch.setattr(Sampler, "_draw", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(specs, corpus, tmp_path / "report", TINY, interrupt)
    assert not (tmp_path / "report" / "report.json").exists()
    before = len(drawn)
    evaluate(specs, corpus, tmp_path / "report", TINY)
    assert before > 0
    assert len(drawn) == 22  # (3 seeds x 3 settings + 1 twin x 2 settings) x 2 parts: nothing was drawn twice
    assert read(tmp_path / "report") == read(out)


def test_another_evaluation_is_not_continued(specs: list[SystemSpec], corpus: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"another evaluation \(seed differ\)"):
        evaluate(specs, corpus, out, replace(TINY, seed=1))
    with pytest.raises(RunError, match=r"systems differ"):
        evaluate(specs[:1], corpus, out, TINY)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no evaluation"):
        evaluate(specs, corpus, tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_baseline_must_be_there_and_options_be_usable(specs: list[SystemSpec], corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'nobody' to be the baseline: there are 'MLE', 'GAN', 'GAN \+ best"):
        evaluate(specs, corpus, tmp_path / "a", EvaluationOptions(baseline="nobody", best_of=2))
    with pytest.raises(ConfigError, match="no bundle"):
        evaluate([], corpus, tmp_path / "a", TINY)
    with pytest.raises(ConfigError, match="contexts is 3, expected 4 or more"):
        EvaluationOptions(contexts=3)
    with pytest.raises(ConfigError, match="temperature 1"):
        EvaluationOptions(temperatures=(0.5,))
    assert not (tmp_path / "a").exists()
