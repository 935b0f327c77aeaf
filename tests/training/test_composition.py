"""Configuration: the order of composition, and errors that say what would be right."""

import json
from dataclasses import replace

import pytest

from training.composition import compose, from_tree, names, to_tree
from training.config import Config
from training.errors import ConfigError


def test_defaults_then_recipe_then_preset_then_settings() -> None:
    assert Config().stages == ("mle",)
    recipe = compose("cseqgan", None, [])
    assert recipe.stages == ("mle", "discriminator", "adversarial")
    assert recipe.mle == Config().mle
    preset = compose("cseqgan", "toy", [])
    assert (preset.stages, preset.mle.steps, preset.mle.batch) == (recipe.stages, 60, 32)
    assert preset.mle.clip == Config().mle.clip
    own = compose("cseqgan", "toy", ["mle.steps=7", "mle.steps=9"])
    assert (own.mle.steps, own.mle.batch) == (9, 32)


def test_a_preset_keeps_the_defaults_of_the_discriminators_own_shape() -> None:
    assert Config().discriminator.shape.dropout == 0.3
    toy = compose("cseqgan", "toy", [])
    assert (toy.discriminator.shape.width, toy.discriminator.shape.dropout) == (32, 0.3)


@pytest.mark.parametrize("preset", [None, *names("presets")])
@pytest.mark.parametrize("recipe", names("recipes"))
def test_every_recipe_composes_with_every_preset_and_survives_json(recipe: str, preset: str | None) -> None:
    composed = compose(recipe, preset, [])
    assert from_tree(json.loads(json.dumps(to_tree(composed)))) == composed


def test_the_packaged_names() -> None:
    assert {"mle", "cseqgan"} <= set(names("recipes"))
    assert {"toy", "demo", "small", "base"} <= set(names("presets"))


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("start=some/where", lambda c: c.start == "some/where"),
        ('start="some/where"', lambda c: c.start == "some/where"),
        ("adversarial.credit=mc", lambda c: c.adversarial.credit == "mc"),
        ("generator.architecture=recurrent", lambda c: c.generator.architecture == "recurrent"),
        (" mle.learning_rate =1e-4", lambda c: c.mle.learning_rate == 1e-4),
        ("mle.minutes=2", lambda c: c.mle.minutes == 2.0 and isinstance(c.mle.minutes, float)),
        ('stages=["discriminator", "adversarial"]', lambda c: c.stages == ("discriminator", "adversarial")),
        ("discriminator.shape.width=64", lambda c: c.discriminator.shape.width == 64),
    ],
)
def test_settings_are_read_as_toml_and_bare_words_as_strings(setting: str, read: object) -> None:
    assert callable(read)
    assert read(compose("cseqgan", "toy", [setting]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("mle.stepz=3", "unknown key 'mle.stepz', expected one of mle.steps, mle.minutes"),
        ("nothing=3", "unknown key 'nothing', expected one of stages, system, start, seed"),
        (
            "discriminator.shape.depth=3",
            "unknown key 'discriminator.shape.depth', expected one of .*shape.architecture",
        ),
        ("mle", "expected key=value"),
        ("=3", "expected key=value"),
        ("feedback.held_out=1.0", "feedback.held_out: expected below 1"),
        ("feedback.batch=0", "feedback.batch: expected at least 1"),
        ("feedback.thumbs=2.0", "feedback.thumbs: expected at most 1"),
        ("mle=3", "mle: expected a table of settings, found 3"),
        ("mle.steps=many", "mle.steps: found 'many' .str., expected int"),
        ("mle.steps=1.5", "mle.steps: found 1.5 .float., expected int"),
        ("mle.steps=true", "mle.steps: found True .bool., expected int"),
        ("mle.steps.more=1", "mle.steps: found .*expected int"),
        ("mle.learning_rate=true", "mle.learning_rate: found True"),
        ("start=3", "start: found 3 .int., expected str"),
        ("mle.learning_rate=nan", "mle.learning_rate: found nan, expected a number from 0 up"),
        ("mle.learning_rate=inf", "mle.learning_rate: found inf, expected a number from 0 up"),
        ("mle.learning_rate=-1e-3", "mle.learning_rate: found -0.001, expected a number from 0 up"),
        ("mle.steps=0", "mle.steps: expected at least 1"),
        ("mle.batch=-4", "mle.batch: found -4"),
        ("save_every=0", "save_every: expected at least 1"),
        ("adversarial.evaluate_every=0", "adversarial.evaluate_every: expected at least 1"),
        ("adversarial.contexts=3", "adversarial.contexts: expected at least 4"),
        ("discriminator.batch=3", "discriminator.batch: expected at least 4"),
        ("adversarial.samples=1", "adversarial.samples: expected at least 2 for baseline loo"),
        ("adversarial.credit=last", "adversarial.credit: found 'last', expected one of step, final, mc, regs"),
        ("precision=fp16", "precision: found 'fp16', expected one of auto, fp32, bf16"),
        ("stages=[]", "stages: expected at least one stage"),
        ('stages=["adversarial", "mle"]', "stages: expected each once and in this order: mle, discriminator"),
        ('stages=["mle", "mle"]', "stages: expected each once"),
        ('stages=["mle", "rest"]', "stages: found 'rest', expected one of mle"),
        ("stages=mle", "stages: found 'mle', expected a list"),
        ("generator.width=63", "generator.width: expected a multiple of generator.heads"),
        ("generator.heads=0", "generator.heads: expected at least 1"),
        ("generator.decoder_layers=0", "generator.decoder_layers: expected at least 1"),
        ("generator.dropout=1", "generator.dropout: expected below 1"),
        ("discriminator.shape.dropout=1.5", "discriminator.shape.dropout: expected below 1"),
        ("discriminator.real_label=1.1", "discriminator.real_label: expected above 0.5 and at most 1"),
        ("adversarial.clip=0", "adversarial.clip: expected above 0"),
        ("seed=99999999999999999999", "seed: expected a number below"),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_is_right(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose("cseqgan", "toy", [setting])


def test_an_unknown_recipe_or_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe 'magic', expected one of .*cseqgan.*mle"):
        compose("magic", None, [])
    with pytest.raises(ConfigError, match=r"unknown preset '../toy', expected one of .*demo"):
        compose("mle", "../toy", [])


def test_one_sample_is_enough_without_leave_one_out() -> None:
    assert compose("cseqgan", "toy", ["adversarial.samples=1", "adversarial.baseline=ema"]).adversarial.samples == 1


def test_a_config_is_a_value() -> None:
    one = compose("mle", "toy", [])
    assert one == compose("mle", "toy", [])
    assert replace(one, seed=1) != one
    with pytest.raises(AttributeError):
        one.seed = 3  # type: ignore[misc]
    assert from_tree({}) == Config()
