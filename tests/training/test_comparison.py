"""A comparison: what each run is told, what an interrupted one keeps, and the one report."""

import json
from pathlib import Path

import pytest

from tests.training.feedback.test_reading import preference, write
from training.comparison import Comparison, compare, planned
from training.errors import ConfigError, FeedbackError
from training.evaluation.options import EvaluationOptions

SMALL = EvaluationOptions(
    contexts=24, training_contexts=24, best_of=2, draws=20, temperatures=(0.7, 1.0), top_ps=(), samples=2
)
FAST = (
    "mle.steps=4", "mle.evaluate_every=2", "discriminator.steps=2", "adversarial.steps=2",
    "adversarial.evaluate_every=1", "evaluation.pairs=20", "evaluation.probe=8",
)  # fmt: skip


def plan(tmp_path: Path, **changes: object) -> Comparison:
    told = {"recipes": ("mle", "cseqgan", "placebo"), "minutes": 10.0, "preset": "toy", **changes}
    return Comparison(tmp_path / "data", tmp_path / "out", **told)  # type: ignore[arg-type]


def test_the_stages_behind_the_start_share_the_budget(tmp_path: Path) -> None:
    config = planned("cseqgan", plan(tmp_path), 3, Path("start"))
    assert config.discriminator.minutes + config.adversarial.minutes == pytest.approx(10)
    assert config.seed == 3
    assert config.start == "start"
    assert min(config.discriminator.steps, config.adversarial.steps) > 10**6  # time is the limit


def test_continued_maximum_likelihood_gets_all_of_it(tmp_path: Path) -> None:
    assert planned("mle", plan(tmp_path), 0, Path("start")).mle.minutes == 10


def test_judged_learns_its_backward_model_within_the_budget(tmp_path: Path) -> None:
    config = planned("judged", plan(tmp_path), 0, Path("start"))
    backward = config.mle.minutes * config.judged.backward
    assert config.discriminator.minutes + backward + config.adversarial.minutes == pytest.approx(10)


def test_a_placebo_differs_from_the_recipe_in_its_reward_alone(tmp_path: Path) -> None:
    real, placebo = (planned(name, plan(tmp_path), 0, Path("start")) for name in ("cseqgan", "placebo"))
    assert placebo.adversarial.reward == "constant"
    assert placebo.discriminator == real.discriminator
    assert planned("noise", plan(tmp_path), 0, Path("start")).adversarial.reward == "noise"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipes": ("cseqgan", "sgan")}, "unknown recipe 'sgan', expected some of cseqgan, gan, .*placebo"),
        ({"recipes": ()}, "recipes are missing"),
        ({"recipes": ("mle", "mle")}, "expected each one once"),
        ({"minutes": 0.0}, "budget is 0 minutes"),
        ({"seeds": 0}, "seeds are 0"),
        ({"recipes": ("mle", "shuffled")}, "placebo of feedback: give some"),
        ({"recipes": ("mle", "gan"), "feedback": (Path("x"),)}, "none of mle, gan learns from feedback"),
    ],
)
def test_what_cannot_be_compared_is_an_error(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, **changes)


def test_a_field_in_one_report_and_a_second_call_goes_on(corpus: Path, tmp_path: Path) -> None:
    comparison = Comparison(
        corpus, tmp_path / "out", ("mle", "cseqgan", "placebo"), 60.0, 1, "toy",
        settings=(*FAST, "mle.minutes=0", "discriminator.minutes=0", "adversarial.minutes=0"),
    )  # fmt: skip
    said: list[str] = []
    report = compare(comparison, SMALL, lambda stage, share, line: said.append(line), lambda *counted: None)
    assert any("cseqgan" in row.sentence for row in report.comparisons)
    written = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert {row["system"] for row in written["rows"]} >= {
        "MLE", "MLE + best of 2 by D", "MLE continued", "cseqgan", "cseqgan + best of 2 by D", "placebo", "human",
    }  # fmt: skip
    trained = sorted(path.name for path in (tmp_path / "out" / "runs").iterdir())
    assert trained == ["cseqgan-0", "mle-0", "placebo-0"]
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "runs").glob("*/metrics.jsonl")}
    compare(comparison, SMALL, lambda stage, share, line: None, lambda *counted: None)
    assert {path: path.read_bytes() for path in before} == before


def test_feedback_goes_to_the_recipes_that_learn_from_it_and_its_agreement_into_the_report(
    corpus: Path, tmp_path: Path
) -> None:
    rows = [preference(f"say {i} : cow ?", "the cow says moo", "moo moo") for i in range(20)]
    comparison = Comparison(
        corpus, tmp_path / "out", ("mle", "cseqgan", "shuffled"), 60.0, 1, "toy",
        settings=(*FAST, "mle.minutes=0", "discriminator.minutes=0", "adversarial.minutes=0", "feedback.batch=4"),
        feedback=(write(tmp_path / "preferences.jsonl", *rows),),
    )  # fmt: skip
    report = compare(comparison, SMALL, lambda stage, share, line: None, lambda *counted: None)
    told = {path.parent.parent.name: json.loads(path.read_text())["info"].get("feedback")
            for path in (tmp_path / "out" / "runs").glob("*/bundle/config.json")}  # fmt: skip
    assert told["mle-0"] is None
    assert (told["cseqgan-0"]["shuffled"], told["shuffled-0"]["shuffled"]) == (False, True)
    assert "feedback_agreement" in report.summary("cseqgan")
    assert "feedback_agreement" not in report.summary("MLE continued")


def test_feedback_that_cannot_be_read_is_said_before_anything_is_trained(corpus: Path, tmp_path: Path) -> None:
    comparison = Comparison(corpus, tmp_path / "out", ("cseqgan",), 1.0, feedback=(tmp_path / "none.jsonl",))
    with pytest.raises(FeedbackError, match="cannot be read"):
        compare(comparison, SMALL, lambda stage, share, line: None, lambda *counted: None)
    assert not (tmp_path / "out").exists()
