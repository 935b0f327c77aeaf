"""The models of the serving benchmark, all of one size with random weights: ours as a bundle, the peers' as a BART.

T: Transformer encoder-decoder, width 256, feed-forward 2,048, 3 + 3 layers, 8,192 tied tokens. The next token is about
as uncertain as a trained model's, and no model ends a reply before it is told to.
"""

import random
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding import CONTEXT_TOKENS, build
from chatbot.bundle import Bundle, Limits, save_bundle
from chatbot.tokenizer import TURN, Tokenizer

VOCABULARY = 8192
_SYLLABLES = [a + b + c for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u") for c in ("", "n", "r", "s", "l")]


def words(count: int, seed: int = 0) -> list[str]:
    """Return `count` made-up words."""
    rng = random.Random(seed)
    return ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(count)]


def tokenizer() -> Tokenizer:
    """Return a tokenizer whose vocabulary is full."""
    made = words(12_000)
    rng = random.Random(1)
    texts = [" ".join(rng.choices(made, k=12)) for _ in range(8_000)]
    found = Tokenizer.train(texts, VOCABULARY)
    if found.vocabulary_size != VOCABULARY:
        raise RuntimeError(f"the vocabulary has {found.vocabulary_size} tokens, expected {VOCABULARY}")
    return found


def contexts(found: Tokenizer, count: int) -> list[str]:
    """Return texts of CONTEXT_TOKENS - 1 tokens each: the end of the turn is the last one."""
    made = words(12_000)
    rng = random.Random(2)
    texts: list[str] = []
    while len(texts) < count:
        chosen = rng.choices(made, k=CONTEXT_TOKENS)
        while chosen and len(found.encode(" ".join(chosen))) > CONTEXT_TOKENS - 1:
            chosen.pop()
        if len(found.encode(" ".join(chosen))) == CONTEXT_TOKENS - 1:
            texts.append(" ".join(chosen))
    return texts


def save_ours(directory: Path, found: Tokenizer, name: str = "T") -> None:
    """Write our bundle to directory/models/NAME."""
    model = build(name)
    (directory / "models").mkdir(parents=True, exist_ok=True)
    bundle = Bundle(model, None, found, Limits(model.context_tokens, model.reply_tokens), card="# Random\n", info={})
    save_bundle(bundle, directory / "models" / name)


def save_peers(directory: Path, found: Tokenizer) -> None:
    """Write the BART of the same size to directory/hf and its int8 conversion to directory/ct2."""
    import ctranslate2
    import tokenizers

    transformers: Any = import_module("transformers")  # partly typed
    file = directory / "tokenizer.json"
    found.save(file)
    plain = tokenizers.Tokenizer.from_file(str(file))
    names = {plain.token_to_id(name): name for name in plain.get_vocab()}
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token=names[0], bos_token=names[1], eos_token=names[TURN], unk_token=names[0]
    )
    fast.save_pretrained(directory / "hf")
    config = transformers.BartConfig(
        vocab_size=VOCABULARY,
        d_model=256,
        encoder_layers=3,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=2048,
        decoder_ffn_dim=2048,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=TURN,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
        normalize_before=False,  # read by the converter; later versions of the configuration do not have it
    )
    torch.manual_seed(0)
    model = transformers.BartForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.final_logits_bias.copy_(build("T").bias[None])
    model.generation_config.forced_eos_token_id = None
    model.save_pretrained(directory / "hf")
    converter = ctranslate2.converters.TransformersConverter(str(directory / "hf"))
    converter.convert(str(directory / "ct2"), quantization="int8", force=True)
