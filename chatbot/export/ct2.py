"""Our Transformer as a CTranslate2 model: the same layers, the marks of turns as a second factor of the source.

Written from the bundle itself: the detour over Hugging Face's classes has no converter. CTranslate2 counts positions
from the first token, so the context is given from its end; an encoder does not mind.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from chatbot.bundle import CARD, Bundle
from chatbot.export.source import own_generator
from chatbot.export.tokenizer import shared_tokenizer
from chatbot.generator.transformer import DecoderLayer, EncoderLayer, SelfAttention, TransformerTrunk
from chatbot.generator.trunk import MARKED_TURNS, CrossAttention, FeedForward
from chatbot.tokenizer import RESERVED


def write_ctranslate2(bundle: Bundle, directory: Path) -> None:
    """Write model, vocabularies, tokenizer and card into `directory`. Raises ModuleNotFoundError."""
    from ctranslate2.specs import TransformerSpec, common_spec

    generator = own_generator(bundle)
    trunk = cast(TransformerTrunk, generator.trunk)
    shape = trunk.config
    spec = TransformerSpec.from_config(
        (shape.encoder_layers, shape.decoder_layers),
        shape.heads,
        pre_norm=True,
        activation=common_spec.Activation.GELU,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    embedding = trunk.embedding.weight * shape.width**0.5
    spec.encoder.scale_embeddings = spec.decoder.scale_embeddings = False  # the marks are not scaled in ours
    spec.encoder.embeddings[0].weight = _numbers(embedding)
    spec.encoder.embeddings[1].weight = _numbers(trunk.turn_marks.weight)
    spec.encoder.position_encodings.encodings = _numbers(trunk.context_positions.weight)
    for layer, module in zip(spec.encoder.layer, trunk.encoder, strict=True):
        encoding = cast(EncoderLayer, module)
        _set_self_attention(layer.self_attention, encoding.attention)
        _set_feedforward(layer.ffn, encoding.feedforward)
    _set_norm(spec.encoder.layer_norm, trunk.encoder_norm)

    spec.decoder.embeddings.weight = _numbers(embedding)
    spec.decoder.position_encodings.encodings = _numbers(trunk.reply_positions.weight)
    for layer, module in zip(spec.decoder.layer, trunk.decoder, strict=True):
        decoding = cast(DecoderLayer, module)
        _set_self_attention(layer.self_attention, decoding.attention)
        _set_cross_attention(layer.attention, decoding.cross)
        _set_feedforward(layer.ffn, decoding.feedforward)
    _set_norm(spec.decoder.layer_norm, trunk.decoder_norm)
    spec.decoder.projection.weight = _numbers(trunk.embedding.weight)
    spec.decoder.projection.bias = _numbers(generator.bias)

    tokenizer = shared_tokenizer(bundle)
    tokens = [tokenizer.id_to_token(i) for i in range(bundle.tokenizer.vocabulary_size)]
    spec.register_source_vocabulary(tokens)
    spec.register_source_vocabulary([str(mark) for mark in range(MARKED_TURNS)])
    spec.register_target_vocabulary(tokens)
    pad, start, turn = RESERVED
    spec.config.add_attribute("decoder_start_token", start)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = start, turn, pad
    spec.config.layer_norm_epsilon = trunk.encoder_norm.eps
    spec.validate()
    spec.optimize()
    spec.save(str(directory))
    tokenizer.save(str(directory / "tokenizer.json"))
    limits = {"context_tokens": bundle.limits.context_tokens, "reply_tokens": bundle.limits.reply_tokens}
    (directory / "limits.json").write_text(json.dumps(limits) + "\n", encoding="utf-8")
    usage = files("chatbot.export").joinpath("ct2_usage.md").read_text(encoding="utf-8")
    (directory / CARD).write_text(f"{bundle.card.rstrip()}\n\n{usage}".lstrip(), encoding="utf-8")


def _set_self_attention(spec: Any, attention: SelfAttention) -> None:
    _set_norm(spec.layer_norm, attention.norm)
    _set_linear(spec.linear[0], attention.query_key_value)
    _set_linear(spec.linear[1], attention.out)


def _set_cross_attention(spec: Any, attention: CrossAttention) -> None:
    _set_norm(spec.layer_norm, attention.norm)
    _set_linear(spec.linear[0], attention.query)
    _set_linear(spec.linear[1], attention.key_value)
    _set_linear(spec.linear[2], attention.out)


def _set_feedforward(spec: Any, feedforward: FeedForward) -> None:
    _set_norm(spec.layer_norm, feedforward.norm)
    _set_linear(spec.linear_0, feedforward.expand)
    _set_linear(spec.linear_1, feedforward.contract)


def _set_linear(spec: Any, linear: nn.Linear) -> None:
    spec.weight, spec.bias = _numbers(linear.weight), _numbers(linear.bias)


def _set_norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _numbers(norm.weight), _numbers(norm.bias)


def _numbers(tensor: Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return tensor.detach().float().contiguous().numpy()
