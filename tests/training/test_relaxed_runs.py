"""Whole runs of the relaxed recipes on a small corpus: they train, resume bit for bit, say what they are meant for."""

from pathlib import Path

import pytest

from chatbot.bundle import load_bundle
from chatbot.tokenizer import SMALLEST_VOCABULARY
from tests.training.conftest import write_dialogues
from tests.training.test_train import SHORT, assert_same_run, kill_in_step, lines, quiet
from training.composition import compose
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.errors import ConfigError
from training.run import STATE
from training.train import begin, resume

RECIPES = ("gan", "wgan", "gumbel")
SETTINGS = (*SHORT, "adversarial.steps=5", "adversarial.evaluate_every=2", "generator.dropout=0.1")
WATCHED = {
    "gan": {"js", "d_accuracy_training"},
    "wgan": {"wasserstein", "penalty", "critic_slope", "nll"},
    "gumbel": {"js", "d_accuracy_training", "temperature", "nll"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(corpus: Path, tmp_path: Path, recipe: str) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    begin(compose(recipe, "toy", SETTINGS), recipe, corpus, whole, quiet)
    kill_in_step(12 + 4, corpus, out, recipe, SETTINGS)  # the fourth step of the game, two behind a save
    assert (out / STATE).is_file()
    resume(out, quiet)
    assert_same_run(whole, out)
    bundle, reference = load_bundle(whole / "bundle"), load_bundle(whole / "mle")
    assert (bundle.info["stage"], reference.info["stage"]) == ("adversarial", "mle")
    assert bundle.discriminator is not None
    last = lines(whole)[-1]
    assert WATCHED[recipe] | {"gradient_norm_through_d", "d_loss", "g_loss", "valid_nll"} <= last.keys()
    assert ("nll" in last) is (recipe != "gan")  # nothing but D moves the generator of `gan`


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("gan", ("gan.loss=non-saturating", "precision=bf16")),
        ("wgan", ("wgan.penalty=div", "precision=bf16")),
        ("wgan", ("generator.architecture=transformer", "discriminator.shape.architecture=transformer")),
        ("gumbel", ("gumbel.straight_through=false", "gumbel.temperature=2", "precision=bf16")),
        ("gumbel", ("generator.architecture=transformer", "discriminator.shape.architecture=transformer")),
    ],
)
def test_every_switch_trains_from_end_to_end(
    corpus: Path, tmp_path: Path, recipe: str, settings: tuple[str, ...]
) -> None:
    short = (*SETTINGS, "mle.steps=6", "adversarial.steps=3", *settings)
    begin(compose(recipe, "toy", short), recipe, corpus, tmp_path / "run", quiet)
    assert load_bundle(tmp_path / "run" / "bundle").info["stage"] == "adversarial"
    assert lines(tmp_path / "run")[-1]["step"] == 3


def test_a_relaxed_run_may_start_from_a_bundle(corpus: Path, tmp_path: Path) -> None:
    begin(compose("mle", "toy", SHORT), "mle", corpus, tmp_path / "mle", quiet)
    settings = (*SETTINGS, f"start={tmp_path / 'mle' / 'bundle'}")
    begin(compose("gumbel", "toy", settings), "gumbel", corpus, tmp_path / "run", quiet)
    assert {row["stage"] for row in lines(tmp_path / "run")} == {"adversarial"}


def test_wgan_says_at_once_that_it_is_meant_for_characters(corpus: Path, tmp_path: Path) -> None:
    source = write_dialogues(tmp_path / "dialogues.jsonl")
    prepare([str(source)], PrepareOptions(out=tmp_path / "bytes", vocabulary=SMALLEST_VOCABULARY, valid=0.1))
    short = (*SETTINGS, "mle.steps=2", "adversarial.steps=1")
    found = {}
    for recipe, data in (("wgan", corpus), ("wgan", tmp_path / "bytes"), ("gan", corpus)):
        said: list[str] = []
        out = tmp_path / f"{recipe}-{data.name}"
        begin(compose(recipe, "toy", short), recipe, data, out, lambda stage, share, line, said=said: said.append(line))
        found[recipe, data.name] = [line for line in said[:2] if "meant for characters" in line]
    assert found == {
        ("wgan", corpus.name): [
            "wgan is meant for characters; this dataset has 320 tokens, "
            "prepare one with --vocabulary 259 for single bytes"
        ],
        ("wgan", "bytes"): [],
        ("gan", corpus.name): [],
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("gan.loss=hinge", "gan.loss: found 'hinge', expected one of minimax, non-saturating"),
        ("wgan.penalty=clip", "wgan.penalty: found 'clip', expected one of gp, div"),
        ("gumbel.temperature=0", "gumbel.temperature: expected above 0"),
        ("gumbel.temperature_end=0", "gumbel.temperature_end: expected above 0"),
        ("gumbel.straight_through=1", "gumbel.straight_through: found 1"),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_is_right(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose("gumbel", "toy", [setting])
