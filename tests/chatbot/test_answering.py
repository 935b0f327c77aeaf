"""Requests in text against the engine in tokens, on the golden bundle: streams, stops, log-probabilities."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from chatbot.bot import Bot
from chatbot.bundle import load_bundle
from chatbot.cleaning import clean_turn
from chatbot.discriminator import PairDiscriminator
from chatbot.errors import RequestError
from chatbot.generator.interface import State
from chatbot.messages import Delta, Ended, Event, Failed
from chatbot.request import Answer, Decoding, ReplyRequest

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def bot() -> Bot:
    return Bot.load(GOLDEN / "recurrent", "cpu")


def request(seed: int = 3, **more: object) -> ReplyRequest:
    return ReplyRequest(["do you like music?"], Decoding(temperature=1.0), seed, **more)  # type: ignore[arg-type]


def stream(bot: Bot, *requests: ReplyRequest) -> list[Event]:
    for key, one in enumerate(requests):
        bot.begin(key, one, stream=True)
    events: list[Event] = []
    while bot.busy:
        events += bot.step()
    return events


def told(events: list[Event], key: int, choice: int) -> str:
    return "".join(e.text for e in events if isinstance(e, Delta) and (e.key, e.choice) == (key, choice))


def ended(events: list[Event]) -> dict[int, Answer]:
    return {event.key: event.answer for event in events if isinstance(event, Ended)}


def test_a_stream_says_what_the_answer_says_whoever_else_streams(bot: Bot) -> None:
    requests = [request(seed, n=1 + seed % 3) for seed in range(12)]
    plain = bot.answer(requests)
    events = stream(bot, *requests)
    assert ended(events) == dict(enumerate(plain))
    for key, answer in enumerate(plain):
        for choice, reply in enumerate(answer.replies):
            assert told(events, key, choice) == reply.text


@pytest.mark.parametrize("logprobs", [None, 2])
def test_a_stream_begins_at_once_and_is_then_told_at_the_pace(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, logprobs: int | None
) -> None:
    one = request(n=2, logprobs=logprobs)
    [plain] = bot.answer([one])
    pieces = {}
    for pace in (0.0, 1e9):
        monkeypatch.setattr("chatbot.answering._PACE", pace)
        events = stream(bot, one)
        assert [event for event in events if isinstance(event, Ended)] == [Ended(0, plain)]
        for choice, reply in enumerate(plain.replies):
            said = [e for e in events if isinstance(e, Delta) and e.choice == choice]
            assert "".join(e.text for e in said) == reply.text
            assert tuple(odds for e in said for odds in e.logprobs) == (reply.logprobs or ())
            pieces[pace, choice] = len(said)
    for choice, reply in enumerate(plain.replies):
        assert pieces[0.0, choice] > reply.tokens / 2
        assert pieces[1e9, choice] == 2  # what it begins with, and the rest


def test_ranked_candidates_are_not_told_before_they_are_ranked(bot: Bot) -> None:
    one = request(n=2, best_of=5)
    events = stream(bot, one)
    assert not [event for event in events if isinstance(event, Delta)]
    assert ended(events)[0] == bot.answer([one])[0]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stop_ends_the_reply_before_it_and_nobody_elses(bot: Bot, streamed: bool) -> None:
    whole = [bot.answer([request(seed)])[0].replies[0] for seed in range(16)]
    stop = whole[0].text[1:5]
    requests = [request(seed, stop=(stop, "never said")) for seed in range(16)]
    answers = ended(stream(bot, *requests)) if streamed else dict(enumerate(bot.answer(requests)))
    cut = 0
    for key, before in enumerate(whole):
        [reply] = answers[key].replies
        assert reply.text == before.text.split(stop)[0]
        if stop in before.text:
            cut += 1
            assert reply.finish_reason == "stop"
            assert reply.tokens <= before.tokens
        else:
            assert reply == before
    assert 0 < cut < 16
    assert not bot.busy


def test_logprobs_are_of_the_tokens_of_the_text(bot: Bot) -> None:
    [plain] = bot.answer([request()])
    [answer] = bot.answer([request(logprobs=3)])
    [reply] = answer.replies
    assert reply.text == plain.replies[0].text
    assert reply.logprobs is not None
    assert clean_turn(b"".join(one.token for one in reply.logprobs).decode()) == reply.text
    assert len(reply.logprobs) == reply.tokens - (reply.finish_reason == "stop")
    for one in reply.logprobs:
        assert one.logprob <= one.likeliest[0][1] <= 0
        assert [value for _, value in one.likeliest] == sorted((value for _, value in one.likeliest), reverse=True)
        assert len(one.likeliest) == 3
    assert plain.replies[0].logprobs is None


def test_a_cancelled_request_says_nothing_more(bot: Bot) -> None:
    bot.begin(0, request(), stream=True)
    bot.begin(1, request(4), stream=True)
    bot.step()
    bot.cancel(0)
    events: list[Event] = []
    while bot.busy:
        events += bot.step()
    assert {event.key for event in events if isinstance(event, Delta | Ended)} == {1}


@pytest.mark.parametrize(
    ("more", "param"),
    [({"stop": ("",)}, "stop"), ({"stop": tuple("abcde")}, "stop"), ({"logprobs": 21}, "top_logprobs")],
)
def test_what_cannot_be_met_is_refused_by_name(bot: Bot, more: dict[str, object], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        bot.answer([request(**more)])
    assert caught.value.param == param


def test_many_requests_are_read_as_lanes_become_free(bot: Bot) -> None:
    read = 0

    def requests() -> Iterator[ReplyRequest]:
        nonlocal read
        for seed in range(400):
            read += 1
            yield request(seed)

    answers = bot.answer_each(requests())
    first = [next(answers) for _ in range(3)]
    assert read <= 3 * 64 + 3
    rest = dict([*first, *answers])
    assert sorted(rest) == list(range(400))
    assert rest[7] == bot.answer([request(7)])[0]


def test_a_stop_in_the_last_token_that_may_be_written_is_a_stop(bot: Bot) -> None:
    decoding = Decoding(temperature=1.0, max_tokens=6)
    whole = ReplyRequest(["do you like music?"], decoding, 3)
    [before] = bot.answer([whole])[0].replies
    assert before.finish_reason == "length"
    [reply] = ended(stream(bot, ReplyRequest(whole.turns, decoding, 3, stop=(before.text[-1],))))[0].replies
    assert (reply.text, reply.finish_reason) == (before.text.split(before.text[-1])[0], "stop")
    assert not bot.busy


class Choosy(PairDiscriminator):
    """Judges as the one it stands before, and breaks down at one length of context."""

    def __init__(self, judge: PairDiscriminator, unbearable: int) -> None:
        super().__init__()
        self.judge = judge
        self.unbearable = unbearable

    def encode(self, context: Tensor) -> State:
        """Read contexts."""
        if self.unbearable in context.ne(0).sum(dim=1).tolist():
            raise RuntimeError("this context cannot be borne")
        return self.judge.encode(context)

    def forward(self, state: State, reply: Tensor) -> Tensor:
        """Judge replies."""
        logits: Tensor = self.judge(state, reply)
        return logits

    def judge_soft(self, state: State, soft: Tensor) -> Tensor:
        """Judge no distributions."""
        raise NotImplementedError


def test_a_judge_that_breaks_down_at_one_request_costs_the_others_nothing() -> None:
    """Replies of one length end in one step, so all four are judged together, and the third is to blame."""
    bundle = load_bundle(GOLDEN / "recurrent", "cpu")
    turns = ["hello", "how are you?", "do you like music and apples?", "bye"]
    lengths = [len(bundle.tokenizer.encode(text)) + 1 for text in turns]
    assert lengths.count(lengths[2]) == 1
    requests = [ReplyRequest([text], Decoding(min_tokens=2, max_tokens=2), seed) for seed, text in enumerate(turns)]
    expected = Bot(bundle, "golden", "0", {}, "cpu").answer(requests)
    assert bundle.discriminator is not None
    bot = Bot(replace(bundle, discriminator=Choosy(bundle.discriminator, lengths[2])), "golden", "0", {}, "cpu")
    events = stream(bot, *requests)
    assert [(e.key, e.kind) for e in events if isinstance(e, Failed)] == [(2, "broken")]
    answers = ended(events)
    assert sorted(answers) == [0, 1, 3]
    for key, answer in answers.items():
        [found], [alone] = answer.replies, expected[key].replies
        assert (found.text, found.score) == (alone.text, pytest.approx(alone.score, abs=1e-5))
    assert not bot.busy
    with pytest.raises(RuntimeError, match="RuntimeError") as caught:
        bot.answer(requests)
    assert str(caught.value.__cause__) == "this context cannot be borne"
    assert not bot.busy, "what was begun beside it is given up"
