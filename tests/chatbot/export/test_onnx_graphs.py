"""What ONNX Runtime makes of the exported graphs: our logits at every step, in any number of lanes."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from chatbot.bot import Bot, ReplyRequest, encode_context, pad
from chatbot.bundle import load_bundle
from chatbot.export.onnx_graphs import write_onnx
from chatbot.generator.trunk import Architecture
from chatbot.request import Decoding
from chatbot.tokenizer import START, Tokenizer
from tests.chatbot.export.examples import GOLDEN, HISTORIES, lively, run_the_example


def test_the_logits_are_ours_step_by_step(architecture: Architecture, tokenizer: Tokenizer, tmp_path: Path) -> None:
    bundle = lively(architecture, tokenizer)
    write_onnx(bundle, tmp_path)
    encoder = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    step = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    for histories in (HISTORIES[:1], HISTORIES):
        context = pad([encode_context(tokenizer, turns, 120)[0] for turns in histories], torch.device("cpu"))
        reply = torch.randint(3, tokenizer.vocabulary_size, (len(histories), 14))
        with torch.no_grad():
            ours = bundle.generator.score(bundle.generator.encode(context), reply)
        names = [output.name for output in encoder.get_outputs()]
        state = dict(zip(names, encoder.run(names, {"context": context.numpy()}), strict=True))
        read = torch.cat((torch.full((len(reply), 1), START), reply[:, :-1]), dim=1).numpy()
        results = [output.name for output in step.get_outputs()]
        for position in range(reply.shape[1]):
            logits, *changed = step.run(results, {"tokens": read[:, position], **state})
            state |= {name.removeprefix("next_"): new for name, new in zip(results[1:], changed, strict=True)}
            assert np.abs(logits - ours[:, position].numpy()).max() < 1e-4, (len(histories), position)


def test_the_example_of_the_card_gives_the_golden_reply(architecture: Architecture, tmp_path: Path) -> None:
    write_onnx(load_bundle(GOLDEN / architecture), tmp_path)
    [answer] = Bot.load(GOLDEN / architecture, "cpu").answer([ReplyRequest(["hello"], Decoding(temperature=0))])
    assert run_the_example(tmp_path) == f"{answer.replies[0].text}\n"
