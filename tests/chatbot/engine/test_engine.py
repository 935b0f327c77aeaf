"""The engine beside `write_replies`, the plain loop: the same tokens, whoever else is there and whenever one came."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chatbot.decoding import Decoding, Lanes, derive_seeds, write_replies
from chatbot.engine.engine import Engine, Finished, Step, Work
from chatbot.generator.interface import Generator, State
from chatbot.request import with_limit
from chatbot.tokenizer import TURN
from tests.chatbot.pretrained import MAKES, pretrained
from tests.chatbot.tiny import (
    ARCHITECTURES,
    CONTEXT_TOKENS,
    REPLY_TOKENS,
    TableGenerator,
    generator,
    padded,
    table_generator,
)

DECODINGS = (
    Decoding(temperature=1.0),
    Decoding(temperature=1.0, max_tokens=2),
    Decoding(temperature=0.0, max_tokens=4),
    Decoding(temperature=1.5, top_p=0.7),
    Decoding(temperature=1.2, top_k=3, min_tokens=3),
    Decoding(temperature=1.0, repetition_penalty=1.5, no_repeat_ngram=2),
    Decoding(temperature=2.0, top_p=0.05, max_tokens=7),
)


def work(key: int, context: Sequence[int], seeds: int = 1, **more: object) -> Work:
    decoding = with_limit(DECODINGS[key % len(DECODINGS)], REPLY_TOKENS)
    return Work(key, context, decoding, derive_seeds(key * 31, seeds), **more)  # type: ignore[arg-type]


def plainly(model: Generator, one: Work) -> list[tuple[int, ...]]:
    """Return what the plain loop writes for this work alone."""
    state = model.encode(padded([one.context])).select(torch.zeros(len(one.seeds), dtype=torch.long))
    lanes = Lanes([one.decoding] * len(one.seeds), torch.tensor(list(one.seeds)), model.reply_tokens)
    with torch.inference_mode():
        sampled = write_replies(model, state, lanes)
    rows = zip(sampled.tokens.tolist(), sampled.lengths.tolist(), strict=True)
    return [tuple(row[:length]) for row, length in rows]


def finish(engine: Engine, steps: int = 500) -> list[Finished]:
    finished = []
    for _ in range(steps):
        if not engine.busy:
            return finished
        step = engine.step()
        assert not step.failed
        finished += step.finished
    raise AssertionError("the engine never came to an end")


def by_key(finished: Sequence[Finished]) -> dict[tuple[int, int], tuple[int, ...]]:
    found = {(one.key, one.reply): one.tokens for one in finished}
    assert len(found) == len(finished), "a reply was given twice"
    return found


def contexts(count: int, vocabulary: int = 40) -> list[list[int]]:
    rng = torch.Generator().manual_seed(3)
    return [
        [*torch.randint(3, vocabulary, (1 + i * 7 % (CONTEXT_TOKENS - 1),), generator=rng).tolist(), TURN][
            :CONTEXT_TOKENS
        ]
        for i in range(count)
    ]


def made(name: str) -> Generator:
    return pretrained(name) if name in MAKES else generator(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MAKES])
@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_who_joins_and_leaves_at_any_step_gets_what_he_would_get_alone(name: str, lanes: int) -> None:
    model = made(name)
    engine = Engine(model, CONTEXT_TOKENS, lanes)
    all_work = [work(key, context, seeds=1 + key % 3) for key, context in enumerate(contexts(14))]
    finished: list[Finished] = []
    for index, one in enumerate(all_work):
        engine.submit(one)
        for _ in range(index % 4):
            finished += engine.step().finished
    found = by_key(finished + finish(engine))
    expected = {(one.key, i): tokens for one in all_work for i, tokens in enumerate(plainly(model, one))}
    assert found == expected
    assert len({len(tokens) for tokens in expected.values()}) > 3, "the lengths are all alike: nobody left early"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_order_of_coming_going_and_stepping_changes_nobodys_reply(data: st.DataObject) -> None:
    model = table_generator()
    engine = Engine(model, 1, lanes=data.draw(st.integers(1, 5)))
    submitted: dict[int, Work] = {}
    cancelled: set[int] = set()
    finished: list[Finished] = []
    for key in range(data.draw(st.integers(1, 12))):
        submitted[key] = work(key, [data.draw(st.integers(0, 3))], seeds=data.draw(st.integers(1, 4)))
        engine.submit(submitted[key])
        for _ in range(data.draw(st.integers(0, 3))):
            finished += engine.step().finished
        if data.draw(st.booleans()):
            gone = data.draw(st.integers(0, key))
            cancelled.add(gone)
            engine.cancel(gone)
    found = by_key(finished + finish(engine))
    for key, one in submitted.items():
        replies = plainly(model, one)
        for reply, tokens in enumerate(replies):
            if key not in cancelled or (key, reply) in found:
                assert found[key, reply] == tokens
    assert engine.writing == 0


def test_a_cancelled_reply_frees_its_lane_at_once_and_hurts_nobody() -> None:
    model = table_generator(reply_tokens=10)
    engine = Engine(model, 1, lanes=2)
    long = replace(with_limit(Decoding(temperature=1.0, min_tokens=10), 10))
    for key in range(3):
        engine.submit(Work(key, [key], long, [key]))
    engine.step()
    assert engine.writing == 2
    engine.cancel(0)
    assert engine.writing == 1
    engine.step()
    engine.step()  # who waits alone gives others a step to join
    assert engine.writing == 2
    found = by_key(finish(engine))
    assert found == {(key, 0): plainly(model, Work(key, [key], long, [key]))[0] for key in (1, 2)}


def test_the_encoded_context_is_shared_by_all_replies_even_when_lanes_are_short() -> None:
    class Counting(TableGenerator):
        encoded = 0

        def encode(self, context: Tensor) -> State:  # type: ignore[override]
            self.encoded += len(context)
            return super().encode(context)

    model = Counting(table_generator().table, REPLY_TOKENS)
    engine = Engine(model, 1, lanes=3)
    model.encoded = 0
    engine.submit(work(0, [2], seeds=8))
    assert len(finish(engine)) == 8
    assert model.encoded == 1


def test_newcomers_are_encoded_in_groups_and_nobody_waits_long() -> None:
    model = table_generator()
    engine = Engine(model, 1, lanes=8)
    slow = with_limit(Decoding(min_tokens=10), 10)
    engine.submit(Work(0, [0], slow, [0]))
    engine.step()
    assert engine.writing == 1  # alone it begins at once
    engine.submit(Work(1, [0], slow, [0]))
    engine.step()
    assert engine.writing == 1  # somebody writes: one newcomer waits a step for others
    engine.step()
    assert engine.writing == 2
    for key in (2, 3, 4):
        engine.submit(Work(key, [0], slow, [0]))
    engine.step()
    assert engine.writing == 5  # three are a group


def test_in_a_crowd_newcomers_wait_for_more_of_their_kind() -> None:
    engine = Engine(table_generator(), 1, lanes=64)
    slow = with_limit(Decoding(min_tokens=10), 10)
    keys = iter(range(100))

    def submit(count: int) -> None:
        for _ in range(count):
            engine.submit(Work(next(keys), [0], slow, [0]))

    submit(33)
    for _ in range(4):
        engine.step()
    assert engine.writing == 33
    submit(3)
    writing = []
    for _ in range(3):
        engine.step()
        writing.append(engine.writing)
    assert writing == [33, 33, 36]
    submit(6)
    engine.step()
    assert engine.writing == 42  # six are a group


def test_a_watched_reply_is_told_token_by_token_and_can_be_ended() -> None:
    model = table_generator()
    engine = Engine(model, 1, lanes=4)
    decoding = with_limit(Decoding(temperature=1.0, min_tokens=10), 10)
    watched, other = Work(0, [1], decoding, [5], watched=True, logprobs=2), Work(1, [2], decoding, [6])
    engine.submit(watched)
    engine.submit(other)
    told = [written for _ in range(3) for written in engine.step().written]
    [expected] = plainly(model, watched)
    assert [(written.key, written.reply, written.token) for written in told] == [(0, 0, t) for t in expected[:3]]
    odds = told[1].odds
    assert odds is not None
    logprobs = torch.log_softmax(model.table[1, expected[0]], 0)
    assert odds.logprob == pytest.approx(float(logprobs[expected[1]]), abs=1e-5)
    assert [token for token, _ in odds.likeliest] == logprobs.topk(2).indices.tolist()
    engine.end(0, 0)
    assert engine.writing == 1
    assert by_key(finish(engine)) == {(1, 0): plainly(model, other)[0]}


class Fragile(TableGenerator):
    """Breaks at a context of 3, and in the step after the token `breaks_at`."""

    breaks_at = -1
    unreadable_at = -1

    def encode(self, context: Tensor) -> State:  # type: ignore[override]
        if bool((context == 3).any()):
            raise RuntimeError("this context is too much")
        return super().encode(context)

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:  # type: ignore[override]
        if bool((tokens == self.breaks_at).any()):
            raise RuntimeError("the step broke")
        logits, state = super().step(state, tokens)
        return logits.masked_fill((tokens == self.unreadable_at)[:, None], float("nan")), state


def failures(steps: Sequence[Step]) -> list[tuple[int, str]]:
    return [(key, str(error)) for step in steps for key, error in step.failed]


def run(engine: Engine) -> list[Step]:
    steps = []
    while engine.busy:
        steps.append(engine.step())
        assert len(steps) < 200
    return steps


def test_a_context_that_cannot_be_encoded_fails_alone() -> None:
    model = Fragile(table_generator().table, REPLY_TOKENS)
    engine = Engine(model, 1, lanes=8)
    all_work = [work(key, [context]) for key, context in enumerate((1, 3, 2))]
    for one in all_work:
        engine.submit(one)
    steps = run(engine)
    assert failures(steps) == [(1, "this context is too much")]
    found = by_key([finished for step in steps for finished in step.finished])
    assert found == {(key, 0): plainly(model, all_work[key])[0] for key in (0, 2)}


def test_a_step_that_breaks_answers_all_it_held_and_the_engine_goes_on() -> None:
    model = Fragile(table_generator().table, REPLY_TOKENS)
    engine = Engine(model, 1, lanes=2)
    held = [work(key, [1]) for key in range(3)]
    for one in held:
        engine.submit(one)
    engine.step()
    model.breaks_at = int(engine._previous[0])
    assert failures([engine.step()]) == [(0, "the step broke"), (1, "the step broke")]
    model.breaks_at = -1
    found = by_key(finish(engine))  # the third had no lane yet
    assert found == {(2, 0): plainly(model, held[2])[0]}


def test_logits_that_are_no_numbers_fail_their_own_request_alone() -> None:
    model = Fragile(table_generator().table, REPLY_TOKENS)
    engine = Engine(model, 1, lanes=4)
    all_work = [replace(work(0, [context]), key=context, seeds=[40 + context]) for context in (0, 1, 2)]
    expected = {one.key: plainly(model, one)[0] for one in all_work}
    mine = set(expected[0][:-1]) - set(expected[1]) - set(expected[2])
    assert mine, "the three replies share all their tokens: pick other seeds"
    model.unreadable_at = min(mine)
    for one in all_work:
        engine.submit(one)
    steps = run(engine)
    assert failures(steps) == [(0, "the model's logits are not finite")]
    assert by_key([finished for step in steps for finished in step.finished]) == {
        (key, 0): expected[key] for key in (1, 2)
    }
    model.unreadable_at = -1
    engine.submit(all_work[0])
    assert by_key(finish(engine)) == {(0, 0): expected[0]}


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MAKES])
def test_what_a_lane_held_before_leaves_no_trace(name: str) -> None:
    model = made(name)
    engine = Engine(model, CONTEXT_TOKENS, lanes=1)
    long, short = work(0, contexts(4)[3]), work(6, [7, TURN])
    for one in (long, short, long):
        engine.submit(one)
        assert by_key(finish(engine)) == {(one.key, 0): plainly(model, one)[0]}
