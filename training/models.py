"""The models of a run: made anew, or from the bundle it starts from; of our own make, or around a pretrained language
model, of which a run keeps the one frozen copy that its bundles share.
"""

import dataclasses
from pathlib import Path
from typing import Any

from chatbot.bundle import AnyGenerator, Bundle
from chatbot.discriminator import Discriminator, PairDiscriminator
from chatbot.generator.language_model import LanguageModel, LanguageModelConfig
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.understanding import check_understood
from chatbot.pretrained_bundle import LANGUAGE_MODEL
from chatbot.pretrained_discriminator import HeadConfig, PretrainedDiscriminator
from chatbot.tokenizer import Tokenizer
from training.config import RELAXED, Config, GeneratorConfig
from training.corpus.dataset import PreparedDataset
from training.errors import ConfigError, RunError


def generator_config(config: Config, start: Bundle) -> GeneratorConfig:
    """Return what a run's generator is when it starts from a bundle, which brings its own shape.

    Raises ConfigError where D was to begin as a copy of a pretrained one.
    """
    own, given = config.generator, start.generator
    if isinstance(given, PretrainedGenerator):
        if config.discriminator.from_generator:
            raise ConfigError(
                f"start={config.start} holds a pretrained generator: expected discriminator.from_generator=false"
            )
        changed = {"tuning": "full"} if given.adapters is None else {"tuning": "lora", "lora": given.adapters}
        return dataclasses.replace(own, architecture="pretrained", **changed)
    return own.shaped(dataclasses.replace(given.trunk.config, dropout=own.dropout))


def language_model(config: Config, data: PreparedDataset, start: Bundle | None) -> LanguageModel | None:
    """Return the pretrained language model of a new run, None for a generator of our own make.

    Raises LanguageModelError when it cannot be had, ConfigError when the data were prepared with another tokenizer.
    """
    wanted = config.generator
    if wanted.architecture != "pretrained":
        return None
    if start is not None:
        assert isinstance(start.generator, PretrainedGenerator)
        return start.generator.language_model
    from chatbot.generator.pretrained_source import fetch_language_model

    found, tokenizer = fetch_language_model(wanted.path, bf16=wanted.bf16, turns=wanted.turns)
    if not tokenizer.same_as(Tokenizer.load(data.tokenizer_path)):
        raise ConfigError(
            f"{data.path} was prepared with another tokenizer than that of {wanted.path}: "
            f"rejoinder prepare ... --tokenizer {wanted.path}"
        )
    return found


def kept_language_model(run: Path, about: dict[str, Any]) -> LanguageModel | None:
    """Return the language model that the run at `run` keeps, None for one of our own make. Raises RunError."""
    if about.get("language_model") is None:
        return None
    path = run / LANGUAGE_MODEL
    if not path.is_file():
        raise RunError(f"{path}: missing; the run cannot be resumed without the language model that it began with")
    described = LanguageModelConfig.from_tree(about["language_model"]["config"])
    return LanguageModel.load(described, path, "cpu", about["language_model"]["sha256"])


def keep_language_model(run: Path, model: LanguageModel) -> dict[str, Any]:
    """Write the language model into the run, where its bundles find it, and return what is to be known of it."""
    digest = model.save(run / LANGUAGE_MODEL)
    model.file = run / LANGUAGE_MODEL
    return {"config": model.config.to_tree(), "sha256": digest}


def make_generator(
    config: Config, vocabulary_size: int, model: LanguageModel | None, start: Bundle | None
) -> AnyGenerator:
    """Return the run's generator: new, or with the weights of the start bundle's."""
    lengths = (config.data.context_tokens, config.data.reply_tokens)
    made: AnyGenerator
    if model is None:
        made = Seq2SeqGenerator(config.generator.trunk(), vocabulary_size, *lengths)
    else:
        adapters = config.generator.lora if config.generator.tuning == "lora" else None
        made = PretrainedGenerator(model, adapters, *lengths)
        check_understood(made, softly=config.system in RELAXED)
        if config.generator.checkpointing:
            made.trunk.let_recompute()
    if start is not None:
        made.load_state_dict(start.generator.state_dict())
    return made


def make_discriminator(config: Config, vocabulary_size: int, model: LanguageModel | None) -> PairDiscriminator:
    """Return the run's discriminator, which knows nothing yet."""
    shape, lengths = config.discriminator.shape, (config.data.context_tokens, config.data.reply_tokens)
    if model is not None and config.discriminator.pretrained:
        return PretrainedDiscriminator(model, HeadConfig(shape.width, shape.dropout), *lengths)
    return Discriminator(shape, vocabulary_size, *lengths)


def shape_of(discriminator: PairDiscriminator) -> object:
    """Return what must be equal for the weights of one discriminator to fit another, dropout aside."""
    if isinstance(discriminator, PretrainedDiscriminator):
        return (discriminator.config.width, discriminator.language_model.config)
    assert isinstance(discriminator, Discriminator)
    return dataclasses.replace(discriminator.trunk.config, dropout=0.0)
