"""Our Transformer as a directory of Hugging Face transformers, in classes of its own: no code of ours is loaded there.

Of the encoder-decoders that `AutoModelForSeq2SeqLM` knows, Marian and BART normalise behind their residuals, mBART also
behind its embeddings, and none of the pre-norm ones (Pegasus, Blenderbot, M2M100) can tell whose turn a token is of or
count positions from the end of the context. A Megatron-BERT can, whose token types are our marks of turns, and a GPT-2
that attends to it writes: `EncoderDecoderModel` holds the two.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from chatbot.bundle import CARD, Bundle
from chatbot.export.gpt2_decoder import Widened, decoder_weights
from chatbot.export.source import own_generator
from chatbot.export.tokenizer import fast_tokenizer
from chatbot.generator.transformer import EncoderLayer, TransformerTrunk
from chatbot.generator.trunk import MARKED_TURNS
from chatbot.tokenizer import PAD, START, TURN

_EPSILON: Final = nn.LayerNorm(1).eps


def write_hugging_face(bundle: Bundle, directory: Path) -> None:
    """Write model, tokenizer, generation config and card into `directory`. Raises ModuleNotFoundError."""
    transformers: Any = import_module("transformers")  # partly typed
    generator = own_generator(bundle)
    trunk = cast(TransformerTrunk, generator.trunk)
    widened = Widened(trunk.config.width, trunk.config.heads)
    model = transformers.AutoModelForSeq2SeqLM.from_config(_config(bundle, widened))
    weights = dict(_encoder_weights(trunk))
    weights |= {f"decoder.{key}": value for key, value in decoder_weights(generator, widened)}
    # Every number of the encoder goes on as it is; the decoder's further ones are zero.
    weights["enc_to_dec_proj.weight"] = widened.columns(torch.eye(widened.width)).T
    weights["enc_to_dec_proj.bias"] = torch.zeros(widened.outer)
    model.load_state_dict({key: value.detach().clone() for key, value in weights.items()})
    drawn = bundle.decoding
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=START,
        bos_token_id=START,
        eos_token_id=TURN,
        pad_token_id=PAD,
        max_new_tokens=bundle.limits.reply_tokens,
        min_new_tokens=drawn.min_tokens,
        suppress_tokens=[PAD, START],
        do_sample=True,
        temperature=drawn.temperature,
        top_p=drawn.top_p,
        top_k=0,
    )
    tokenizer = fast_tokenizer(bundle)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    usage = files("chatbot.export").joinpath("hf_usage.md").read_text(encoding="utf-8")
    (directory / CARD).write_text(f"{bundle.card.rstrip()}\n\n{usage}".lstrip(), encoding="utf-8")


def _config(bundle: Bundle, widened: Widened) -> Any:
    transformers: Any = import_module("transformers")
    shape = own_generator(bundle).trunk.config
    tokens = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": TURN}
    encoder = transformers.MegatronBertConfig(
        vocab_size=bundle.tokenizer.vocabulary_size,
        hidden_size=shape.width,
        num_hidden_layers=shape.encoder_layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feedforward,
        hidden_act="gelu",
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=bundle.limits.context_tokens,
        type_vocab_size=MARKED_TURNS,
        layer_norm_eps=_EPSILON,
        **tokens,
    )
    decoder = transformers.GPT2Config(
        vocab_size=bundle.tokenizer.vocabulary_size,
        n_positions=bundle.limits.reply_tokens,
        n_embd=widened.outer,
        n_layer=shape.decoder_layers,
        n_head=shape.heads,
        n_inner=shape.feedforward,
        activation_function="gelu",
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=0.0,
        layer_norm_epsilon=_EPSILON * widened.variance,
        is_decoder=True,
        add_cross_attention=True,
        tie_word_embeddings=False,
        **tokens,
    )
    return transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, decoder_start_token_id=START, tie_word_embeddings=False, **tokens
    )


def _encoder_weights(trunk: TransformerTrunk) -> Iterator[tuple[str, Tensor]]:
    width = trunk.config.width
    yield "encoder.embeddings.word_embeddings.weight", trunk.embedding.weight * width**0.5
    yield "encoder.embeddings.position_embeddings.weight", trunk.context_positions.weight
    yield "encoder.embeddings.token_type_embeddings.weight", trunk.turn_marks.weight
    for index, module in enumerate(trunk.encoder):
        layer = cast(EncoderLayer, module)
        where = f"encoder.encoder.layer.{index}"
        yield from _module(f"{where}.attention.ln", layer.attention.norm)
        projections = layer.attention.query_key_value
        parts = zip(projections.weight.chunk(3), projections.bias.chunk(3), strict=True)
        for name, (weight, bias) in zip(("query", "key", "value"), parts, strict=True):
            yield f"{where}.attention.self.{name}.weight", weight
            yield f"{where}.attention.self.{name}.bias", bias
        yield from _module(f"{where}.attention.output.dense", layer.attention.out)
        yield from _module(f"{where}.ln", layer.feedforward.norm)
        yield from _module(f"{where}.intermediate.dense", layer.feedforward.expand)
        yield from _module(f"{where}.output.dense", layer.feedforward.contract)
    yield from _module("encoder.encoder.ln", trunk.encoder_norm)
    yield "encoder.pooler.dense.weight", torch.zeros(width, width)  # is there and plays no part
    yield "encoder.pooler.dense.bias", torch.zeros(width)


def _module(where: str, module: nn.Linear | nn.LayerNorm) -> Iterator[tuple[str, Tensor]]:
    yield f"{where}.weight", module.weight
    yield f"{where}.bias", module.bias
