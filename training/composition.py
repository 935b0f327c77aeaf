"""How a run's settings are put together: defaults <- preset <- recipe <- --set, checked, and read back from a run.

A recipe says what its system cannot do without (no context, characters), so it goes over the preset's sizes. An unknown
key is an error that lists the known ones.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Literal, get_args, get_origin, get_type_hints

from training.config import RELAXED, Config, Stage
from training.errors import ConfigError


def compose(recipe: str, preset: str | None, settings: Iterable[str]) -> Config:
    """Return defaults <- preset <- recipe <- settings (`key=value`). Raises ConfigError naming what is not known."""
    tree: dict[str, Any] = {}
    if preset is not None:
        _merge(tree, _packaged("presets", "preset", preset))
    _merge(tree, _packaged("recipes", "recipe", recipe))
    for setting in settings:
        _merge(tree, _parse_setting(setting))
    return from_tree(tree)


def from_tree(tree: Mapping[str, Any]) -> Config:
    """Build a Config from nested mappings. Raises ConfigError for unknown keys and values of another type."""
    config: Config = _build(Config, tree, "")
    _expect(bool(config.stages), "stages", "at least one stage")
    order = [stage for stage in get_args(Stage) if stage in config.stages]
    _expect(list(config.stages) == order, "stages", f"each once and in this order: {', '.join(get_args(Stage))}")
    _expect(config.seed < 2**48, "seed", "a number below 2^48")
    _expect(
        config.adversarial.baseline != "loo" or config.adversarial.samples > 1,
        "adversarial.samples",
        "at least 2 for baseline loo",
    )
    for path, shape in (("generator", config.generator), ("discriminator.shape", config.discriminator.shape)):
        _expect(shape.heads > 0, f"{path}.heads", "at least 1")
        _expect(shape.width > 1 and shape.width % shape.heads == 0, f"{path}.width", f"a multiple of {path}.heads")
        for key in ("encoder_layers", "decoder_layers", "feedforward"):
            _expect(getattr(shape, key) > 0, f"{path}.{key}", "at least 1")
        _expect(shape.dropout < 1, f"{path}.dropout", "below 1")
    shares = {
        "discriminator.mismatched": config.discriminator.mismatched,
        "discriminator.skip_above": config.discriminator.skip_above,
        "discriminator.extra_below": config.discriminator.extra_below,
        "feedback.thumbs": config.feedback.thumbs,
    }
    for key, share in shares.items():
        _expect(share <= 1, key, "at most 1")
    _expect(0.5 < config.discriminator.real_label <= 1, "discriminator.real_label", "above 0.5 and at most 1")
    if config.generator.architecture == "pretrained":
        _check_pretrained(config)
    _expect(config.feedback.held_out < 1, "feedback.held_out", "below 1: something is to be learnt")
    _expect(config.adversarial.discount < 1, "adversarial.discount", "below 1: an ended reply earns for ever")
    clips = {
        "mle.clip": config.mle.clip,
        "discriminator.clip": config.discriminator.clip,
        "adversarial.clip": config.adversarial.clip,
        "adversarial.reward_clip": config.adversarial.reward_clip,
        "adversarial.advantage_clip": config.adversarial.advantage_clip,
    }
    for key, clip in clips.items():
        _expect(clip > 0, key, "above 0")
    for key, temperature in (
        ("temperature", config.gumbel.temperature),
        ("temperature_end", config.gumbel.temperature_end),
    ):
        _expect(temperature > 0, f"gumbel.{key}", "above 0")
    positive = {
        "data.context_tokens": config.data.context_tokens,
        "data.reply_tokens": config.data.reply_tokens,
        "mle.steps": config.mle.steps,
        "mle.parts": config.mle.parts,
        "mle.batch": config.mle.batch,
        "mle.evaluate_every": config.mle.evaluate_every,
        "discriminator.steps": config.discriminator.steps,
        "discriminator.held_out": config.discriminator.held_out,
        "discriminator.evaluate_every": config.discriminator.evaluate_every,
        "adversarial.steps": config.adversarial.steps,
        "adversarial.evaluate_every": config.adversarial.evaluate_every,
        "adversarial.contexts": config.adversarial.contexts,
        "adversarial.samples": config.adversarial.samples,
        "adversarial.rollouts": config.adversarial.rollouts,
        "judged.turns": config.judged.turns,
        "feedback.batch": config.feedback.batch,
        "evaluation.pairs": config.evaluation.pairs,
        "evaluation.probe": config.evaluation.probe,
        "save_every": config.save_every,
    }
    for key, value in positive.items():
        _expect(value > 0, key, "at least 1")
    # The mixed batch of D takes shares of its contexts; under 4 some of them would be nothing.
    _expect(config.discriminator.batch >= 4, "discriminator.batch", "at least 4")
    _expect(config.adversarial.contexts >= 4, "adversarial.contexts", "at least 4")
    if config.system == "judged":
        _check_judged(config)
    return config


def _check_pretrained(config: Config) -> None:
    generator = config.generator
    _expect(bool(generator.path or config.start), "generator.path", "a directory, a .gguf file or a name on the hub")
    keeps = config.system not in RELAXED
    _expect(keeps or not generator.checkpointing, "generator.checkpointing", f"false with the system {config.system}")
    _expect(generator.lora.rank > 0, "generator.lora.rank", "at least 1")
    _expect(generator.lora.alpha > 0, "generator.lora.alpha", "at least 1")
    _expect(generator.tuning == "lora" or not generator.bf16, "generator.bf16", "false with generator.tuning=full")
    _expect(
        not config.discriminator.from_generator, "discriminator.from_generator", "false with a pretrained generator"
    )


def _check_judged(config: Config) -> None:
    judged = config.judged
    _expect(judged.discount <= 1, "judged.discount", "at most 1")
    _expect(judged.backward > 0, "judged.backward", "above 0")
    _expect(config.adversarial.baseline == "loo", "adversarial.baseline", "loo with the system judged")
    parts = ("ease", "flow", "coherence", "mutual", "likelihood", "discriminator")
    _expect(
        any(getattr(judged, part) for part in parts),
        "judged.ease",
        f"a weight above 0 for at least one of {', '.join(parts)}",
    )
    _expect(
        bool(judged.likelihood) == bool(judged.teacher), "judged.teacher", "a bundle where judged.likelihood is above 0"
    )
    if "adversarial" in config.stages:
        for part, stage in (("coherence", "backward"), ("discriminator", "discriminator")):
            right = not getattr(judged, part) or stage in config.stages
            _expect(right, f"judged.{part}", f"0 without the stage {stage}, which makes this part of the judge")


def _expect(right: bool, key: str, expected: str) -> None:
    if not right:
        raise ConfigError(f"{key}: expected {expected}")


def to_tree(config: Config) -> dict[str, Any]:
    """Return `config` as nested dicts that JSON holds and `from_tree` reads back."""
    tree = dataclasses.asdict(config)
    tree["stages"] = list(config.stages)
    return tree


def names(kind: Literal["recipes", "presets"]) -> list[str]:
    """Return the recipes or presets that are there."""
    return sorted(p.name.removesuffix(".toml") for p in resources.files("training").joinpath(kind).iterdir())


def _packaged(folder: Literal["recipes", "presets"], word: str, name: str) -> dict[str, Any]:
    if name not in names(folder):
        raise ConfigError(f"unknown {word} {name!r}, expected one of {', '.join(names(folder))}")
    return tomllib.loads(resources.files("training").joinpath(folder, f"{name}.toml").read_text(encoding="utf-8"))


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {setting!r}: expected key=value, for example mle.steps=1000")
    if key.strip() == "generator" and not value.lstrip().startswith("{"):  # pretrained,path=DIRECTORY
        architecture, *others = value.split(",")
        whole = _parse_setting(f"generator.architecture={architecture}")
        for other in others:
            _merge(whole, _parse_setting(f"generator.{other.strip()}"))
        return whole
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string
    tree: dict[str, Any] = {}
    branch = tree
    *path, last = key.strip().split(".")
    for part in path:
        branch = branch.setdefault(part, {})
    branch[last] = parsed
    return tree


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _build(kind: type[Any], values: object, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected a table of settings, found {values!r}")
    hints = get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise ConfigError(
            f"unknown key {_join(path, unknown[0])!r}, expected one of {', '.join(_join(path, k) for k in hints)}"
        )
    default = {f.name: f for f in dataclasses.fields(kind)}
    arguments = {}
    for key, value in values.items():
        hint = hints[key]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[key] = _build(hint, _over_default(default[key], value), _join(path, key))
        else:
            arguments[key] = _check(hint, value, _join(path, key))
    return kind(**arguments)


def _over_default(spec: "dataclasses.Field[Any]", value: object) -> object:
    """Lay a table of settings over the field's own default, which may differ from its class's (D's dropout)."""
    if not isinstance(value, Mapping) or spec.default_factory is dataclasses.MISSING:
        return value
    return {**dataclasses.asdict(spec.default_factory()), **value}


def _check(hint: Any, value: Any, path: str) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{path}: found {value!r}, expected one of {', '.join(map(str, get_args(hint)))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path}: found {value!r}, expected a list")
        return tuple(_check(get_args(hint)[0], item, path) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{path}: found {value!r} ({type(value).__name__}), expected {hint.__name__}")
    if hint in (int, float) and not 0 <= value < float("inf"):
        raise ConfigError(f"{path}: found {value!r}, expected a number from 0 up")
    return value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
