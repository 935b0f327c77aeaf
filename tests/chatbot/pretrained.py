"""Language models small enough for tests, drawn at random: causal ones and encoder-decoders."""

from pathlib import Path
from typing import Any, Literal

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from chatbot.bundle import Bundle, Limits
from chatbot.generator.language_model import LanguageModel, LanguageModelConfig, json_ready
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.prompt import Layout, plain_layout
from chatbot.pretrained_discriminator import HeadConfig, PretrainedDiscriminator
from chatbot.tokenizer import Tokenizer
from tests.chatbot.tiny import CONTEXT_TOKENS, REPLY_TOKENS, TEXTS, VOCABULARY

Make = Literal["llama", "gpt2", "bart", "t5"]
MAKES: tuple[Make, ...] = ("llama", "gpt2", "bart", "t5")
CHAT = Layout((0,), (2, 4), (1,), (2, 5), (1, 6), (2, 5, 7), end=1)
"""A chat template's parts, in ids of a language model."""
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe nice.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALL = Adapters(4, 8)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def network(make: Make, tokens: int, seed: int = 0) -> Any:
    """Return a random model of the library's; its weights are large enough for every token to matter."""
    torch.manual_seed(seed)
    shared: dict[str, Any] = {"vocab_size": tokens, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1}
    if make == "llama":
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = LlamaConfig(
            **shared, **sizes, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3
        )
        return LlamaForCausalLM(config)
    if make == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(**shared, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3)
        )
    if make == "bart":
        layers = {
            f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 2), ("ffn_dim", 48))
        }
        heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 256}
        begin = {"decoder_start_token_id": 1, "forced_bos_token_id": 0, "init_std": 0.3}
        return BartForConditionalGeneration(BartConfig(**shared, d_model=32, **layers, **heads, **begin))
    config = T5Config(**shared, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=1)
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "relative" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


def language_model(make: Make = "llama", tokens: int = VOCABULARY - 3, layout: Layout | None = None) -> LanguageModel:
    """Return a language model without a tokenizer, for tests that speak in ids."""
    made = network(make, tokens)
    causal = make in ("llama", "gpt2")
    layout = layout or (CHAT if make == "llama" else plain_layout((0,), 1))
    start, begun = (layout.prompt([[]])[-1], ()) if causal else ((0, (1,)) if make == "bart" else (1, ()))
    kind: Any = "causal" if causal else "encoder-decoder"
    # Nothing but the end token is special: tests use all the others as words.
    config = LanguageModelConfig(kind, _without_dropout(made), "float32", tokens, (layout.end,), start, begun, layout)
    return LanguageModel.build(config, dict(made.state_dict()), "the test's model", "cpu")


def _without_dropout(made: Any) -> dict[str, Any]:
    return {k: 0.0 if "drop" in k and isinstance(v, float) else v for k, v in json_ready(made.config).items()}


def pretrained(
    make: Make = "llama", adapters: Adapters | None = SMALL, *, stirred: bool = True, **more: Any
) -> PretrainedGenerator:
    """Return a generator in evaluation mode; `stirred` adapters say something, where fresh ones say nothing."""
    context, reply = more.pop("context_tokens", CONTEXT_TOKENS), more.pop("reply_tokens", REPLY_TOKENS)
    made = PretrainedGenerator(language_model(make, **more), adapters, context, reply).eval()
    if adapters is not None and stirred:
        torch.manual_seed(5)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
    return made


def hf_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer as the library has it, with special tokens first."""
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|endoftext|>"
    )
    made.chat_template = template
    return made


def save_language_model(directory: Path, make: Make = "llama", template: str | None = TEMPLATE) -> Path:
    """Write a random model with its tokenizer as the library does, and return the directory."""
    tokenizer = hf_tokenizer(template if make == "llama" else None)
    made = network(make, len(tokenizer))
    made.config.eos_token_id = made.generation_config.eos_token_id = tokenizer.eos_token_id
    made.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def pretrained_bundle(tokenizer: Tokenizer, make: Make = "llama", adapters: Adapters | None = SMALL) -> Bundle:
    """Return a bundle of a random language model; its discriminator has not learnt anything."""
    size = tokenizer.vocabulary_size - 3
    generator = pretrained(make, adapters, tokens=size)
    torch.manual_seed(9)
    judge = PretrainedDiscriminator(generator.language_model, HeadConfig(8), CONTEXT_TOKENS, REPLY_TOKENS).eval()
    limits = Limits(CONTEXT_TOKENS, REPLY_TOKENS)
    return Bundle(generator, judge, tokenizer, limits, card="# Tiny\n", info={"step": 3})
