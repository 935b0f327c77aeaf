"""What CTranslate2 makes of an exported Transformer: our log-probabilities and our likeliest replies."""

from pathlib import Path

import ctranslate2
import pytest
import torch
from tokenizers import Tokenizer

from chatbot.bot import Bot, ReplyRequest, encode_context, pad
from chatbot.bundle import Bundle, load_bundle, save_bundle
from chatbot.export.ct2 import write_ctranslate2
from chatbot.request import Decoding
from chatbot.tokenizer import TURN
from tests.chatbot.export.examples import GOLDEN, HISTORIES, run_the_example


@pytest.fixture(scope="module")
def exported(transformer: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ct2")
    write_ctranslate2(transformer, directory)
    return directory


def read(tokenizer: Tokenizer, turns: list[str]) -> list[str]:
    """Return a context as the model takes it: from its end, each token with its turn's mark."""
    return [
        f"{tokenizer.id_to_token(i)}￨{min(back, 15)}"
        for back, turn in enumerate(reversed(turns))
        for i in reversed([*tokenizer.encode(turn).ids, TURN])
    ]


def test_the_log_probabilities_are_ours(transformer: Bundle, exported: Path) -> None:
    tokenizer = Tokenizer.from_file(str(exported / "tokenizer.json"))
    translator = ctranslate2.Translator(str(exported), intra_threads=1)
    reply = torch.randint(3, transformer.tokenizer.vocabulary_size, (len(HISTORIES), 13))
    target = [[tokenizer.id_to_token(i) for i in row] for row in reply.tolist()]
    scored = translator.score_batch([read(tokenizer, turns) for turns in HISTORIES], target)
    theirs = torch.tensor([one.log_probs for one in scored])
    context = pad([encode_context(transformer.tokenizer, turns, 120)[0] for turns in HISTORIES], torch.device("cpu"))
    whole = torch.cat((reply, torch.full((len(reply), 1), TURN)), dim=1)
    with torch.no_grad():
        logits = transformer.generator.score(transformer.generator.encode(context), whole)
    ours = torch.log_softmax(logits, dim=2).gather(2, whole[..., None]).squeeze(2)
    assert ours.std() > 1
    assert (ours - theirs).abs().max() < 1e-3


def test_the_likeliest_replies_are_ours(transformer: Bundle, exported: Path, tmp_path: Path) -> None:
    save_bundle(transformer, tmp_path / "bundle")
    tokenizer = Tokenizer.from_file(str(exported / "tokenizer.json"))
    translator = ctranslate2.Translator(str(exported), intra_threads=1)
    results = translator.translate_batch(
        [read(tokenizer, turns) for turns in HISTORIES],
        beam_size=1,
        max_decoding_length=14,
        min_decoding_length=1,
        suppress_sequences=[["<pad>"], ["<start>"]],
    )
    theirs = [tokenizer.decode([tokenizer.token_to_id(t) for t in one.hypotheses[0]]) for one in results]
    requests = [ReplyRequest(turns, Decoding(temperature=0)) for turns in HISTORIES]
    ours = [answer.replies[0].text for answer in Bot.load(tmp_path / "bundle", "cpu").answer(requests)]
    assert [" ".join(text.split()) for text in theirs] == ours


def test_the_example_of_the_card_gives_the_golden_reply(tmp_path: Path) -> None:
    write_ctranslate2(load_bundle(GOLDEN / "transformer"), tmp_path)
    [answer] = Bot.load(GOLDEN / "transformer", "cpu").answer([ReplyRequest(["hello"], Decoding(temperature=0))])
    assert run_the_example(tmp_path) == f"{answer.replies[0].text}\n"
