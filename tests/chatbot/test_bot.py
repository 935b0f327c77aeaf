import threading
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from chatbot.bot import Answer, Bot, ReplyRequest, choose_device, clean_turn, encode_context, pad
from chatbot.bundle import Bundle, bundle_digest, read_config, save_bundle
from chatbot.decoding import SEED_LIMIT, Decoding, derive_seeds
from chatbot.errors import BundleError, RejoinderError, RequestError
from chatbot.generator.interface import State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture
from chatbot.reranking import human_probability
from chatbot.tokenizer import PAD, TURN, Tokenizer
from tests.chatbot.tiny import CONTEXT_TOKENS, REPLY_TOKENS, TEXTS, TableGenerator, TableState, bundle
from training.corpus.cleaning import clean_text
from training.corpus.dataset import Split

WARM = Decoding(temperature=1.0)
HISTORIES = [
    ["hello"],
    ["hi", "你好", "fine 😀"],
    ["do you like music?", "yes", "what music do you like to eat?"],
    ["?"],
]
TOKENIZER = Tokenizer.train(TEXTS, 280)
TURNS = st.lists(
    st.sampled_from(["a", "hello", "how are you? " * 5, "你好吗", "x" * 40, "😀", "I like music"]), min_size=1
)


@pytest.fixture
def small(architecture: Architecture, tokenizer: Tokenizer) -> Bot:
    return bot(bundle(architecture, tokenizer))


@pytest.fixture(scope="module")
def unjudged(tokenizer: Tokenizer) -> Bot:
    return bot(bundle("recurrent", tokenizer, judged=False))


def bot(parts: Bundle) -> Bot:
    return Bot(parts, "tiny", "0" * 64, {}, "cpu")


def texts(answer: Answer) -> list[str]:
    return [reply.text for reply in answer.replies]


def same(one: Answer, other: Answer) -> bool:
    """Return whether both are the same but for the last bits of the scores."""
    scores = zip((r.score for r in one.replies), (r.score for r in other.replies), strict=True)
    return (
        [replace(r, score=None) for r in one.replies] == [replace(r, score=None) for r in other.replies]
        and all(abs((a or 0) - (b or 0)) < 1e-5 for a, b in scores)
        and (one.context_tokens, one.turns_used) == (other.context_tokens, other.turns_used)
    )


# Loading


def test_a_saved_bundle_answers_as_the_one_in_memory(
    tmp_path: Path, architecture: Architecture, tokenizer: Tokenizer
) -> None:
    made = bundle(architecture, tokenizer)
    save_bundle(made, tmp_path / "chatty")
    loaded = Bot.load(tmp_path / "chatty", "cpu")
    requests = [ReplyRequest(turns, WARM, seed=i, n=2) for i, turns in enumerate(HISTORIES)]

    assert loaded.answer(requests) == bot(made).answer(requests)
    assert (loaded.name, loaded.card, loaded.device) == ("chatty", "# Tiny\n", "cpu")
    assert loaded.digest == bundle_digest(tmp_path / "chatty")
    assert loaded.config == read_config(tmp_path / "chatty")
    assert loaded.has_discriminator
    assert (loaded.limits.context_tokens, loaded.limits.reply_tokens) == (CONTEXT_TOKENS, REPLY_TOKENS)


def test_a_missing_bundle_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nothing"):
        Bot.load(tmp_path / "nothing")


def test_the_device_is_chosen_or_refused() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    for absent in ("cuda:99", "cuda:x", "tpu", "", "meta", *([] if torch.cuda.is_available() else ["cuda", "cuda:0"])):
        with pytest.raises(RejoinderError, match="not available"):
            choose_device(absent)


# Answers


def test_answers_stand_in_the_order_of_their_requests(small: Bot) -> None:
    requests = [ReplyRequest(turns, WARM, seed=7, n=1 + i % 3) for i, turns in enumerate(HISTORIES)]
    answers = small.answer(requests)

    assert [len(a.replies) for a in answers] == [1, 2, 3, 1]
    assert [a.turns_used for a in answers] == [1, 3, 2, 1]
    assert all(same(small.answer([r])[0], a) for r, a in zip(requests, answers, strict=True))
    backwards = small.answer(requests[::-1])
    assert all(same(a, b) for a, b in zip(answers, backwards[::-1], strict=True))


@settings(max_examples=10, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", ["recurrent", "transformer"])
def test_an_answer_depends_on_nothing_beside_it(kind: Architecture, data: st.DataObject) -> None:
    """Whatever the others in the batch are: their number, order, lengths, settings, n and best_of."""
    small = bot(bundle(kind, TOKENIZER))
    settled = st.sampled_from(
        [WARM, Decoding(temperature=0.0), Decoding(top_p=0.5, max_tokens=3), Decoding(2.0, top_k=3, no_repeat_ngram=1)]
    )
    request = st.builds(
        ReplyRequest, st.sampled_from(HISTORIES), settled, st.integers(0, SEED_LIMIT - 1), st.integers(1, 2),
        st.sampled_from([None, 2, 3]),
    )  # fmt: skip
    requests = data.draw(st.lists(request, min_size=1, max_size=5))
    together = small.answer(requests)

    for one, answer in zip(requests, together, strict=True):
        assert same(small.answer([one])[0], answer)


def test_another_seed_gives_another_reply(small: Bot) -> None:
    found = {texts(small.answer([ReplyRequest(["hello"], WARM, seed=seed)])[0])[0] for seed in range(6)}

    assert len(found) > 3


def test_n_replies_are_the_first_n_of_more_and_differ(small: Bot) -> None:
    [many] = small.answer([ReplyRequest(["hello"], WARM, seed=3, n=5)])
    [few] = small.answer([ReplyRequest(["hello"], WARM, seed=3, n=2)])

    assert texts(few) == texts(many)[:2]
    assert len(set(texts(many))) > 2


def test_each_reply_has_its_own_derived_seed(small: Bot) -> None:
    [many] = small.answer([ReplyRequest(["hello"], WARM, seed=3, n=4)])
    alone = small.answer([ReplyRequest(["hello"], WARM, seed=seed) for seed in derive_seeds(3, 4)])

    assert texts(many) == [texts(a)[0] for a in alone]


def test_the_best_of_the_candidates_come_first(small: Bot) -> None:
    [candidates] = small.answer([ReplyRequest(["你好"], WARM, seed=5, n=6)])
    [best] = small.answer([ReplyRequest(["你好"], WARM, seed=5, n=2, best_of=6)])
    ranked = sorted(candidates.replies, key=lambda reply: -(reply.score or 0))

    assert texts(best) == [reply.text for reply in ranked[:2]]
    assert [r.score for r in candidates.replies] != sorted((r.score or 0 for r in candidates.replies), reverse=True)
    [all_of_them] = small.answer([ReplyRequest(["你好"], WARM, seed=5, n=6, best_of=6)])
    assert texts(all_of_them) == [reply.text for reply in ranked]


def test_scores_are_the_discriminators_probabilities(architecture: Architecture, tokenizer: Tokenizer) -> None:
    parts = bundle(architecture, tokenizer)
    [answer] = bot(parts).answer([ReplyRequest(["hello"], Decoding(temperature=0.0, min_tokens=3))])
    reply = answer.replies[0]
    assert parts.discriminator is not None
    assert reply.score is not None
    assert 0 < reply.score < 1
    state = parts.generator.encode(torch.tensor([encode_context(tokenizer, ["hello"], CONTEXT_TOKENS)[0]]))
    tokens, previous = [], torch.tensor([1])
    with torch.no_grad():
        for t in range(reply.tokens):  # greedy by hand
            logits, state = parts.generator.step(state, previous)
            logits[:, [0, 1, *([2] if t < 3 else [])]] = -torch.inf
            previous = logits.argmax(dim=1)
            tokens.append(int(previous))
    context = torch.tensor([[*tokenizer.encode("hello"), TURN]])
    expected = human_probability(parts.discriminator, context, torch.tensor([0]), torch.tensor([tokens]))
    assert reply.text == clean_turn(tokenizer.decode(tokens))
    assert abs(reply.score - float(expected)) < 1e-5


def test_without_a_discriminator_there_are_no_scores(unjudged: Bot) -> None:
    [answer] = unjudged.answer([ReplyRequest(["hello"], WARM, n=3)])

    assert [reply.score for reply in answer.replies] == [None] * 3
    assert not unjudged.has_discriminator


def test_a_reply_says_how_long_it_is_and_why_it_ended(small: Bot) -> None:
    requests = [ReplyRequest(["hello"], Decoding(temperature=1.5, max_tokens=4), seed=i, n=8) for i in range(8)]
    found = [reply for answer in small.answer(requests) for reply in answer.replies]

    assert {reply.finish_reason for reply in found} == {"stop", "length"}
    assert all(reply.tokens == 4 for reply in found if reply.finish_reason == "length")
    assert all(1 < reply.tokens <= 4 for reply in found if reply.finish_reason == "stop")


def test_a_reply_is_one_line_without_control_characters(small: Bot) -> None:
    """An untrained model writes any bytes, and a trained one now and then: no database or page should meet a NUL."""
    requests = [ReplyRequest(["hello"], Decoding(temperature=2.0), seed=i, n=20) for i in range(10)]
    found = [text for answer in small.answer(requests) for text in texts(answer)]

    assert all(text == clean_turn(text) for text in found)
    assert not [c for text in found for c in text if unicodedata.category(c) == "Cc"]


def test_a_reply_of_one_token_can_be_asked_for(small: Bot) -> None:
    [answer] = small.answer([ReplyRequest(["hello"], Decoding(max_tokens=1))])

    assert (answer.replies[0].tokens, answer.replies[0].finish_reason) == (1, "length")


def test_no_requests_have_no_answers(small: Bot) -> None:
    assert small.answer([]) == []


def test_two_threads_get_what_one_after_the_other_would(small: Bot) -> None:
    batches = [[ReplyRequest(turns, WARM, seed=i, n=2) for turns in HISTORIES] for i in range(6)]
    expected = [small.answer(batch) for batch in batches]
    found: dict[int, list[Answer]] = {}
    barrier = threading.Barrier(len(batches))

    def work(i: int) -> None:
        barrier.wait()
        found[i] = small.answer(batches[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[i] for i in range(len(batches))] == expected


class WatchfulGenerator(TableGenerator):
    """Notice when two threads are inside at once."""

    crowded = False
    _inside = 0

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, TableState]:
        """Take long enough for another thread to come in."""
        self._inside += 1
        self.crowded |= self._inside > 1
        time.sleep(0.002)
        self._inside -= 1
        return super().step(state, tokens)


def test_generations_run_one_after_another(tokenizer: Tokenizer) -> None:
    parts = bundle("recurrent", tokenizer, judged=False)
    size = tokenizer.vocabulary_size
    generator = WatchfulGenerator(torch.zeros(size, 1, 1).expand(size, size, size), REPLY_TOKENS)
    watched = bot(replace(parts, generator=cast(Seq2SeqGenerator, generator)))
    threads = [threading.Thread(target=watched.answer, args=([ReplyRequest(["hello"])],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not generator.crowded


# Requests that cannot be met


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ReplyRequest([]), "turns"),
        (ReplyRequest("hello"), "turns"),
        (ReplyRequest([""]), "turns"),
        (ReplyRequest(["hello", " \t\n\u3000"]), "turns"),
        (ReplyRequest(["hello", "", "you"]), "turns"),
        (ReplyRequest(["\0\x07\ufeff"]), "turns"),
        (ReplyRequest(["half \ud83d"]), "turns"),
        (ReplyRequest(["hello"], seed=-1), "seed"),
        (ReplyRequest(["hello"], seed=SEED_LIMIT), "seed"),
        (ReplyRequest(["hello"], n=0), "n"),
        (ReplyRequest(["hello"], n=3, best_of=2), "best_of"),
        (ReplyRequest(["hello"], best_of=0), "best_of"),
        (ReplyRequest(["hello"], Decoding(max_tokens=REPLY_TOKENS + 1)), "max_tokens"),
        (ReplyRequest(["hello"], Decoding(min_tokens=REPLY_TOKENS + 1)), "min_tokens"),
    ],
)
def test_a_request_that_cannot_be_met_names_its_field(small: Bot, request_: ReplyRequest, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        small.answer([ReplyRequest(["fine"]), request_])

    assert caught.value.param == param


def test_candidates_cannot_be_ranked_without_a_discriminator(unjudged: Bot) -> None:
    with pytest.raises(RequestError, match="tiny has no discriminator") as caught:
        unjudged.answer([ReplyRequest(["hello"], best_of=2)])

    assert caught.value.param == "best_of"


def test_the_ends_of_the_seeds_are_allowed(small: Bot) -> None:
    small.answer([ReplyRequest(["hello"], WARM, seed=seed, n=2) for seed in (0, SEED_LIMIT - 1)])


# Contexts


def test_turns_are_ended_and_joined(tokenizer: Tokenizer) -> None:
    context, used = encode_context(tokenizer, ["hello", "你好"], 100)

    assert context == [*tokenizer.encode("hello"), TURN, *tokenizer.encode("你好"), TURN]
    assert used == 2


@given(TURNS, st.integers(1, 60))
def test_the_oldest_turns_are_dropped_whole_and_a_last_one_keeps_its_end(turns: list[str], most: int) -> None:
    context, used = encode_context(TOKENIZER, turns, most)
    encoded = [[*TOKENIZER.encode(turn.strip()), TURN] for turn in turns]

    assert 1 <= used <= len(turns)
    assert len(context) <= most
    whole = [i for turn in encoded[len(turns) - used :] for i in turn]
    assert context == whole[-most:]
    if len(whole) > most:
        assert used == 1
    elif used < len(turns):
        assert len(whole) + len(encoded[len(turns) - used - 1]) > most, "one more would have fitted"


def test_a_long_history_is_answered_and_says_what_was_used(small: Bot) -> None:
    long = ["hello, how are you? " * 50, "I am fine", "thank you"]
    [short, cut] = small.answer([ReplyRequest(long[1:], WARM, 4), ReplyRequest(long, WARM, 4)])

    assert cut.turns_used == 2
    assert same(cut, short)
    [last] = small.answer([ReplyRequest([*long, "very " * 500 + "long"])])
    assert (last.turns_used, last.context_tokens) == (1, CONTEXT_TOKENS)


@given(TURNS, st.integers(1, 60))
def test_contexts_are_cut_as_in_training(turns: list[str], most: int) -> None:
    ids = [[*TOKENIZER.encode(clean_text(turn)), TURN] for turn in [*turns, "the reply"]]
    split = Split(
        tokens=np.array([i for turn in ids for i in turn], np.uint16),
        turns=np.cumsum([0, *map(len, ids)]),
        dialogues=np.array([0, len(ids)]),
        pairs=np.array([[0, len(turns)]]),
    )

    assert encode_context(TOKENIZER, turns, most)[0] == split.context(0, most).tolist()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example("e\u0301  a\u0308\x00b\ufeff\u200d\x85\x1f\n".replace("\0", ""))
@example("e\x07\u0301")
def test_a_message_is_cleaned_as_the_corpus_was(text: str) -> None:
    assert clean_turn(text) == clean_text(text)
    assert clean_turn(clean_turn(text)) == clean_turn(text)


def test_a_message_typed_in_another_form_gets_the_same_reply(small: Bot) -> None:
    forms: Sequence[str] = ("Café 你好 ?", unicodedata.normalize("NFD", "Café 你好 ?"), "\ufeff Caf\0é\n\n你好\t?\x07 ")
    answers = small.answer([ReplyRequest([form], WARM, seed=1) for form in forms])

    assert same(answers[0], answers[1])
    assert same(answers[0], answers[2])


def test_what_a_user_types_cannot_end_a_turn(tokenizer: Tokenizer) -> None:
    context, _ = encode_context(tokenizer, ["a<turn>b"], 100)

    assert context.count(TURN) == 1


def test_rows_are_padded_on_the_right() -> None:
    assert pad([[5], [6, 7, 8]], torch.device("cpu")).tolist() == [[5, PAD, PAD], [6, 7, 8]]
