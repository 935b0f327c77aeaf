"""Make the golden bundles and what they answer: `python tests/golden/make.py`.

The tests do not run this: they hold later versions of the code to the files that it once wrote. Run it again only when
the bundle's format or the meaning of a request changes on purpose, and say so in the change log; users' bundles and
seeds then change, too.

Two tiny models learn a dozen pairs by heart, mildly, so that their replies still depend on the seed. A request is kept
only if its replies stay the same when every weight is changed by a ten-thousandth: another machine's arithmetic, which
differs in the last bits, then cannot change them.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chatbot.bot import Answer, Bot, ReplyRequest, encode_context, pad
from chatbot.bundle import Bundle, Limits, save_bundle
from chatbot.decoding import Decoding
from chatbot.discriminator import Discriminator, final_logits
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, TrunkConfig
from chatbot.tokenizer import PAD, TURN, Tokenizer

HERE = Path(__file__).parent
LIMITS = Limits(context_tokens=24, reply_tokens=12)
CPU = torch.device("cpu")
DISTURBANCES = 5

PAIRS = [
    (["hello"], "hello, how are you?"),
    (["hello"], "hi"),
    (["hello", "hello, how are you?", "I am fine"], "good"),
    (["how are you?"], "I am fine, thank you"),
    (["how are you?"], "not so good"),
    (["do you like music?"], "yes, I do"),
    (["do you like music?"], "no, I do not"),
    (["do you like music?", "yes, I do", "me too"], "good"),
    (["你好"], "你好，你好吗？"),
    (["你好", "你好，你好吗？", "我很好"], "好"),
    (["bye"], "bye 😀"),
    (["bye"], "good bye"),
]

REQUESTS = [
    *(
        ReplyRequest(turns, Decoding(temperature=0.0))
        for turns in (["hello"], ["你好"], ["bye"], ["do you like music?"])
    ),
    ReplyRequest(["hello", "hello, how are you?", "I am fine"], Decoding(temperature=0.0)),
    *(ReplyRequest(turns, Decoding(temperature=1.0), seed) for turns in (["hello"], ["bye"]) for seed in (1, 2, 3)),
    ReplyRequest(["how are you?"], Decoding(temperature=1.5, top_k=4), 11, n=3),
    ReplyRequest(["how are you?"], Decoding(temperature=1.5, top_p=0.8), 2**63 - 1, n=3),
    ReplyRequest(["do you like music?"], Decoding(temperature=2.0, top_p=0.2), 5, n=2),
    ReplyRequest(["do you like music?"], Decoding(temperature=0.9, repetition_penalty=1.4), 8, n=2),
    ReplyRequest(["you", "me", "hello"], Decoding(temperature=1.2, no_repeat_ngram=2, min_tokens=6), 21, n=2),
    ReplyRequest(["hello hello hello hello hello"] * 9, Decoding(temperature=1.0, max_tokens=3), 4),
    ReplyRequest(["hello"], Decoding(temperature=1.3), 6, n=2, best_of=6),
    ReplyRequest(["你好"], Decoding(temperature=1.3), 7, n=1, best_of=4),
]


def learn(architecture: Architecture, tokenizer: Tokenizer, judged: bool) -> Bundle:
    """Return a bundle whose generator was taught PAIRS, and whose discriminator tells them from shuffled ones."""
    torch.manual_seed(2026)
    shape = TrunkConfig(architecture, 16, encoder_layers=1, decoder_layers=1, heads=2, feedforward=24, dropout=0.0)
    size = (tokenizer.vocabulary_size, LIMITS.context_tokens, LIMITS.reply_tokens)
    generator = Seq2SeqGenerator(shape, *size)
    context = pad([encode_context(tokenizer, turns, LIMITS.context_tokens)[0] for turns, _ in PAIRS], CPU)
    reply = pad([[*tokenizer.encode(text), TURN][: LIMITS.reply_tokens] for _, text in PAIRS], CPU)

    def likelihood() -> Tensor:
        logits = generator.score(generator.encode(context), reply)
        return functional.cross_entropy(logits.flatten(0, 1), reply.flatten(), ignore_index=PAD)

    descend(generator, likelihood)
    if not judged:
        return Bundle(generator.eval(), None, tokenizer, LIMITS, "# Golden\n", {"made_by": "tests/golden/make.py"})
    discriminator = Discriminator(shape, *size)
    other = reply.roll(5, dims=0)

    def mistakes() -> Tensor:
        state = discriminator.encode(context)
        real, fake = (final_logits(discriminator(state, r), r) for r in (reply, other))
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()

    descend(discriminator, mistakes)
    info = {"made_by": "tests/golden/make.py"}
    return Bundle(generator.eval(), discriminator.eval(), tokenizer, LIMITS, "# Golden\n", info)


def descend(model: torch.nn.Module, loss: Any) -> None:
    """Take 250 steps of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(250):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def disturb(model: torch.nn.Module, seed: int) -> None:
    """Change every weight by about a ten-thousandth of itself."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-4 * torch.randn(parameter.shape, generator=rng))


def main() -> None:
    """Write both bundles and `replies.json`."""
    texts = [text for turns, reply in PAIRS for text in (*turns, reply)]
    tokenizer = Tokenizer.train(texts * 3, 300)
    golden = []
    systems: tuple[tuple[Architecture, bool], ...] = (("recurrent", True), ("transformer", False))
    for architecture, judged in systems:
        directory = HERE / architecture
        save_bundle(learn(architecture, tokenizer, judged), directory)
        requests = [r for r in REQUESTS if judged or r.best_of is None]
        answers = Bot.load(directory, "cpu").answer(requests)
        steady = [True] * len(requests)
        for seed in range(DISTURBANCES):
            bot = Bot.load(directory, "cpu")
            for model in (bot._bundle.generator, bot._bundle.discriminator):
                if model is not None:
                    disturb(model, seed)
            again = bot.answer(requests)
            steady = [ok and replied(a) == replied(b) for ok, a, b in zip(steady, answers, again, strict=True)]
        if sum(steady) < 0.8 * len(requests):
            raise SystemExit(f"{architecture}: only {sum(steady)} of {len(requests)} requests have steady replies")
        golden += [
            {"bundle": architecture, "request": asdict(request), "answer": asdict(answer)}
            for request, answer, ok in zip(requests, answers, steady, strict=True)
            if ok
        ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in golden)
    (HERE / "replies.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def replied(answer: Answer) -> list[tuple[str, str, int]]:
    """Return what must be the same on every machine: all but the scores."""
    return [(reply.text, reply.finish_reason, reply.tokens) for reply in answer.replies]


if __name__ == "__main__":
    main()
