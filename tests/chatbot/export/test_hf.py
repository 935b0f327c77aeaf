"""What transformers' own classes make of an exported Transformer: our logits, our ids, our likeliest replies."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from chatbot.bot import Bot, ReplyRequest, encode_context, pad
from chatbot.bundle import Bundle, load_bundle
from chatbot.export.hf import write_hugging_face
from chatbot.request import Decoding
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.export.examples import DRAWN, GOLDEN, HISTORIES, run_the_example

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exported(transformer: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hf")
    write_hugging_face(transformer, directory)
    return directory


@pytest.fixture(scope="module")
def model(exported: Path) -> Any:
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM.from_pretrained(exported)


def inputs_of(context: Tensor) -> dict[str, Tensor]:
    """Return what the model is told beside the ids, worked out one token at a time."""
    types, positions = torch.zeros_like(context), torch.zeros_like(context)
    for row, ids in enumerate(context.tolist()):
        length = sum(i != PAD for i in ids)
        for place in range(length):
            positions[row, place] = length - 1 - place
            types[row, place] = min(15, sum(i == TURN for i in ids[place:length]) - 1)
    mask = (context != PAD).long()
    return {"input_ids": context, "attention_mask": mask, "token_type_ids": types, "position_ids": positions}


def test_the_logits_are_ours(transformer: Bundle, model: Any) -> None:
    context = pad([encode_context(transformer.tokenizer, turns, 120)[0] for turns in HISTORIES], CPU)
    reply = torch.randint(3, transformer.tokenizer.vocabulary_size, (len(HISTORIES), 14))
    begun = torch.cat((torch.full((len(reply), 1), START), reply[:, :-1]), dim=1)
    with torch.no_grad():
        ours = transformer.generator.score(transformer.generator.encode(context), reply)
        theirs = model(**inputs_of(context), decoder_input_ids=begun).logits
    assert ours.std() > 1
    assert (ours - theirs).abs().max() < 1e-4
    # What a token's place and turn say is really read: without it the logits are others.
    with torch.no_grad():
        without = model(context, attention_mask=(context != PAD).long(), decoder_input_ids=begun).logits
    assert (ours - without).abs().max() > 1e-2


def test_the_ids_are_ours_turns_and_all(transformer: Bundle, exported: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    for turns in HISTORIES:
        chat = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
        given = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
        assert given == encode_context(transformer.tokenizer, turns, 10_000)[0]
        assert tokenizer.decode(given, skip_special_tokens=True) == transformer.tokenizer.decode(given)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (PAD, START, TURN)


def test_the_likeliest_replies_are_ours_by_the_golden_bundle(tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    bundle = load_bundle(GOLDEN / "transformer")
    write_hugging_face(bundle, tmp_path)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    histories = [["hello"], ["你好"], ["bye"], ["do you like music?"], list(HISTORIES[1])]
    requests = [ReplyRequest(turns, Decoding(temperature=0)) for turns in histories]
    ours = [answer.replies[0].text for answer in Bot.load(GOLDEN / "transformer", "cpu").answer(requests)]
    assert len(set(ours)) > 2
    for turns, reply in zip(histories, ours, strict=True):
        context = pad([encode_context(bundle.tokenizer, turns, bundle.limits.context_tokens)[0]], CPU)
        written = model.generate(**inputs_of(context), do_sample=False)
        assert tokenizer.decode(written[0], skip_special_tokens=True) == reply
    assert run_the_example(tmp_path) == f"['{ours[0]}']\n"


def test_the_directory_draws_as_we_do_by_default(exported: Path) -> None:
    settings = json.loads((exported / "generation_config.json").read_text())
    assert (settings["temperature"], settings["top_p"]) == (DRAWN.temperature, DRAWN.top_p)
    assert settings["min_new_tokens"] == DRAWN.min_tokens
    assert settings["max_new_tokens"] == 14
    assert settings["do_sample"] is True
    assert (settings["decoder_start_token_id"], settings["eos_token_id"]) == (START, TURN)
    assert (exported / "README.md").read_text().startswith("# Lively\n")
