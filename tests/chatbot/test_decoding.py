import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chatbot.decoding import (
    SEED_LIMIT,
    Decoding,
    Lanes,
    Sampled,
    derive_seeds,
    plain_sampling,
    uniforms,
    with_limit,
    write_replies,
)
from chatbot.errors import RequestError
from chatbot.generator.interface import Generator
from chatbot.generator.trunk import Architecture
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.tiny import REPLY_TOKENS, assert_follows, generator, padded, table_generator

SEEDS = torch.arange(20_000)
PLAIN = Decoding(temperature=1.0, min_tokens=0)


def lanes(decoding: Decoding, seeds: Tensor = SEEDS, longest: int = REPLY_TOKENS) -> Lanes:
    return Lanes([decoding] * len(seeds), seeds, longest)


def draw(logits: Sequence[float], decoding: Decoding, seeds: Tensor = SEEDS, position: int = 0) -> Tensor:
    """Return what many lanes with different seeds draw from the same logits."""
    return lanes(decoding, seeds).draw(torch.tensor([logits]).expand(len(seeds), -1), position)


def constrain(logits: Sequence[float], written: Sequence[int], decoding: Decoding) -> list[float]:
    one = lanes(decoding, torch.tensor([0]))
    found: list[float] = one.constrain(torch.tensor([logits]), torch.tensor([written], dtype=torch.long))[0].tolist()
    return found


def write(
    model: Generator, contexts: Tensor, decodings: Sequence[Decoding], seeds: Sequence[int], begun: Tensor | None = None
) -> Sampled:
    state = model.encode(contexts)
    if begun is not None:
        for token in torch.cat((torch.full((len(begun), 1), START), begun[:, :-1]), dim=1).T:
            _, state = model.step(state, token)
    return write_replies(model, state, Lanes(decodings, torch.tensor(seeds), model.reply_tokens), begun)


def replies(sampled: Sampled) -> list[list[int]]:
    return [row[:length] for row, length in zip(sampled.tokens.tolist(), sampled.lengths.tolist(), strict=True)]


# The random stream


def splitmix(x: int) -> int:
    """Return SplitMix64's mix of x, in whole numbers of 64 bits."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def uniform(seed: int, counter: int) -> float:
    return float((splitmix((splitmix(seed) + (counter + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53)


def test_splitmix_is_the_published_one() -> None:
    """The reference below, from the generator's own published output: seed 1234567 gives these two numbers first."""
    found = [splitmix((1234567 + i * 0x9E3779B97F4A7C15) % 2**64) for i in (1, 2)]

    assert found == [6457827717110365317, 3203168211198807973]


@given(st.integers(0, SEED_LIMIT - 1), st.integers(0, 2**32))
def test_uniforms_are_splitmix_of_seed_and_counter(seed: int, counter: int) -> None:
    assert uniforms(torch.tensor([seed]), counter).tolist() == [uniform(seed, counter)]


def test_uniforms_are_a_seeds_own_whatever_stands_beside_it() -> None:
    seeds = torch.tensor([7, 0, SEED_LIMIT - 1, 7])
    together = uniforms(seeds, 3)

    assert together[0] == together[3]
    assert torch.equal(together, torch.cat([uniforms(seed[None], 3) for seed in seeds]))


@pytest.mark.parametrize("over", ["seeds", "counters"])
def test_uniforms_are_uniform(over: str) -> None:
    one = torch.tensor([9])
    values = uniforms(SEEDS, 0) if over == "seeds" else torch.cat([uniforms(one, i) for i in range(5000)])
    assert values.dtype == torch.float64
    assert 0 <= float(values.min()) < float(values.max()) < 1
    ordered = values.sort().values
    grid = torch.arange(1, len(values) + 1, dtype=torch.float64) / len(values)
    kolmogorov = (ordered - grid).abs().max().item() * math.sqrt(len(values))
    assert kolmogorov < 1.95, "true for all but 1 in 1,000 uniform samples"


def test_neighbouring_seeds_and_counters_have_nothing_to_do_with_each_other() -> None:
    here = uniforms(SEEDS, 0)

    for other in (uniforms(SEEDS + 1, 0), uniforms(SEEDS, 1), uniforms(SEEDS + 2**40, 0)):
        correlation = torch.corrcoef(torch.stack((here, other)))[0, 1]
        assert abs(float(correlation)) < 0.03
        assert not (here == other).any()


@given(st.integers(0, SEED_LIMIT - 1), st.integers(0, 50))
def test_derived_seeds_are_different_begin_with_the_seed_and_never_change(seed: int, count: int) -> None:
    seeds = derive_seeds(seed, count)

    assert len(set(seeds)) == len(seeds) == count
    assert all(0 <= s < SEED_LIMIT for s in seeds)
    assert seeds[:1] == [seed][:count]
    assert derive_seeds(seed, count + 5)[:count] == seeds


def test_neighbouring_requests_share_no_derived_seed() -> None:
    assert len({s for seed in range(1000) for s in derive_seeds(seed, 8)[1:]}) == 7000


# One token


LOGITS = [-9.0, 1.0, 0.3, -1.0, 2.0, 0.0, 1.4]


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("position", [0, 7])
def test_draws_follow_the_softmax(temperature: float, position: int) -> None:
    drawn = draw(LOGITS, replace(PLAIN, temperature=temperature), position=position)

    assert_follows(drawn, torch.softmax(torch.tensor(LOGITS) / temperature, 0))


def test_a_reply_draws_anew_at_every_position() -> None:
    first, second = draw(LOGITS, PLAIN, position=0), draw(LOGITS, PLAIN, position=1)
    pairs = first * len(LOGITS) + second
    probabilities = torch.softmax(torch.tensor(LOGITS), 0)

    assert_follows(pairs, torch.outer(probabilities, probabilities).flatten())


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-30, 1e-5])
def test_the_coldest_temperatures_take_the_likeliest(temperature: float) -> None:
    assert draw(LOGITS, replace(PLAIN, temperature=temperature)).unique().tolist() == [4]


@pytest.mark.parametrize("temperature", [1e-4, 1e-3])
def test_a_cold_temperature_overflows_nothing(temperature: float) -> None:
    logits = [-math.inf, 80.0, 80.0 + 1e-2, -80.0]

    assert draw(logits, replace(PLAIN, temperature=temperature, top_p=0.9)).unique().tolist() == [2]


def sorted_nucleus(logits: Sequence[float], top_p: float) -> Tensor:
    """Return the renormalised nucleus of the softmax, by sorting, as its paper says."""
    probabilities = torch.softmax(torch.tensor(logits, dtype=torch.float64), 0)
    ordered, tokens = probabilities.sort(descending=True)
    size = int((ordered.cumsum(0) < top_p).sum()) + 1
    kept = torch.zeros_like(probabilities)
    kept[tokens[:size]] = ordered[:size]
    return kept / kept.sum()


@pytest.mark.parametrize("top_p", [0.01, 0.2, 0.5, 0.8, 0.9, 0.97, 0.999])
def test_the_nucleus_is_exact(top_p: float) -> None:
    expected = sorted_nucleus(LOGITS, top_p)
    drawn = draw(LOGITS, replace(PLAIN, top_p=top_p))

    assert drawn.unique().tolist() == expected.nonzero().flatten().tolist()
    assert_follows(drawn, expected)


def test_a_small_nucleus_of_a_flat_distribution_is_exact() -> None:
    """Hardly any draw from the whole falls into it, so the tries fail and it has to be found by sorting."""
    logits = torch.linspace(0, 0.5, 1000).tolist()
    expected = sorted_nucleus(logits, 0.01)
    drawn = draw(logits, replace(PLAIN, top_p=0.01), SEEDS[:3000])

    assert 5 < int((expected > 0).sum()) < 10
    assert_follows(drawn, expected)


def test_equally_likely_tokens_are_all_in_the_nucleus_or_none() -> None:
    for count in (4, 400):
        drawn = draw([1.0] * count, replace(PLAIN, top_p=0.001))
        assert_follows(drawn, torch.full((count,), 1 / count))


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=12),
    st.floats(0.01, 0.99),
    st.integers(0, 2**40),
)
def test_nothing_outside_the_nucleus_is_drawn(logits: list[float], top_p: float, seed: int) -> None:
    probabilities = torch.softmax(torch.tensor(logits, dtype=torch.float64), 0)
    drawn = draw(logits, replace(PLAIN, top_p=top_p), torch.arange(seed, seed + 50))

    for token in drawn.unique().tolist():
        above = float(probabilities[probabilities > probabilities[token] + 1e-6].sum())
        assert above < top_p + 1e-5


def test_top_k_draws_among_the_k_likeliest_renormalised() -> None:
    for k, tokens in ((1, [4]), (2, [4, 6]), (3, [1, 4, 6]), (7, list(range(7))), (1000, list(range(7)))):
        expected = torch.zeros(7)
        expected[tokens] = torch.softmax(torch.tensor(LOGITS), 0)[tokens]
        assert_follows(draw(LOGITS, replace(PLAIN, top_k=k)), expected / expected.sum())


def test_top_p_takes_its_share_of_what_top_k_left() -> None:
    three = [LOGITS[t] if t in (1, 4, 6) else -math.inf for t in range(7)]
    drawn = draw(LOGITS, replace(PLAIN, top_k=3, top_p=0.7))

    assert_follows(drawn, sorted_nucleus(three, 0.7))


def test_lanes_with_different_settings_draw_as_they_would_alone() -> None:
    decodings = [
        PLAIN,
        replace(PLAIN, temperature=0.0),
        replace(PLAIN, top_k=2),
        replace(PLAIN, top_p=0.4),
        replace(PLAIN, temperature=1.7, top_k=5, top_p=0.6),
        replace(PLAIN, top_p=0.01),
    ]
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    for seed in range(40):
        seeds = torch.tensor([seed] * 6)
        together = Lanes(decodings, seeds, 9).draw(logits, 2)
        for i in range(6):
            alone = Lanes(decodings[i : i + 1], seeds[:1], 9).draw(logits[i : i + 1], 2)
            assert together[i] == alone[0], decodings[i]


# What may be drawn


def test_the_repetition_penalty_divides_likely_and_multiplies_unlikely_logits_once() -> None:
    found = constrain([0.0, 0.0, 1.0, 2.0, -2.0, 3.0], [3, 4, 3], Decoding(repetition_penalty=2.0, min_tokens=0))

    assert found == [-math.inf, -math.inf, 1.0, 1.0, -4.0, 3.0]


def test_the_repetition_penalty_of_one_lane_is_not_its_neighbours() -> None:
    two = Lanes([Decoding(repetition_penalty=2.0), Decoding()], torch.tensor([0, 0]), 9)
    found = two.constrain(torch.full((2, 5), 2.0), torch.tensor([[3], [3]]))

    assert found[:, 3].tolist() == [1.0, 2.0]


def test_the_end_waits_for_the_minimum() -> None:
    least = Decoding(min_tokens=2)

    assert constrain([0.0] * 5, [], least)[TURN] == -math.inf
    assert constrain([0.0] * 5, [3], least)[TURN] == -math.inf
    assert constrain([0.0] * 5, [3, 4], least)[TURN] == 0.0


def test_padding_and_start_are_never_drawn() -> None:
    found = constrain([50.0, 50.0, 0.0, 0.0], [], PLAIN)

    assert found[PAD] == found[START] == -math.inf


def test_the_logits_given_are_left_as_they_are() -> None:
    logits = torch.zeros(1, 5)
    lanes(Decoding(repetition_penalty=2.0), torch.tensor([0])).constrain(logits, torch.tensor([[3]]))

    assert torch.equal(logits, torch.zeros(1, 5))


def test_a_reply_that_may_not_go_on_ends() -> None:
    """Every token is used up, and the end is not due yet: it is drawn all the same."""
    found = constrain([5.0, 5.0, -50.0, 0.0, 0.0], [3, 4], Decoding(no_repeat_ngram=1, min_tokens=9))

    assert found == [-math.inf, -math.inf, 0.0, -math.inf, -math.inf]


@pytest.mark.parametrize(
    ("size", "written", "banned"),
    [
        (1, [], []),
        (1, [3, 4], [3, 4]),
        (2, [3], []),
        (2, [3, 4, 3], [4]),
        (2, [3, 3], [3]),
        (3, [3, 4, 5, 3, 4], [5]),
        (3, [3, 4, 5, 4], []),
        (3, [3, 4, 5, 3, 4, 6, 3, 4], [5, 6]),
        (0, [3, 3, 3], []),
    ],
)
def test_only_the_ends_of_known_ngrams_are_banned(size: int, written: list[int], banned: list[int]) -> None:
    found = constrain([0.0] * 8, written, Decoding(no_repeat_ngram=size, min_tokens=0))

    assert [token for token in range(3, 8) if found[token] == -math.inf] == banned


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(0, 2**50), st.floats(0, 2))
def test_no_ngram_is_written_twice(size: int, seed: int, temperature: float) -> None:
    model = table_generator(vocabulary=6, reply_tokens=40)
    decoding = Decoding(temperature=temperature, no_repeat_ngram=size, min_tokens=40)
    [reply] = replies(write(model, torch.tensor([[1]]), [decoding], [seed]))
    body = reply[:-1] if reply[-1] == TURN else reply
    ngrams = [tuple(body[i : i + size]) for i in range(len(body) - size + 1)]

    assert len(ngrams) == len(set(ngrams))


# Whole replies


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 10), st.integers(0, 2**60)),
        min_size=1,
        max_size=6,
    )
)
def test_replies_keep_to_their_own_lengths_and_say_how_they_ended(rows: list[tuple[int, int, int, int]]) -> None:
    decodings = [Decoding(temperature=1.0, min_tokens=least, max_tokens=most) for _, least, most, _ in rows]
    contexts = torch.tensor([[context] for context, *_ in rows])
    sampled = write(table_generator(), contexts, decodings, [seed for *_, seed in rows])

    for i, reply in enumerate(replies(sampled)):
        _, least, most, _ = rows[i]
        assert 1 <= len(reply) <= most
        assert sampled.finished[i] == (reply[-1] == TURN)
        assert len(reply) == most or reply[-1] == TURN
        assert not {PAD, START, TURN} & set(reply[:-1])
        assert reply[-1] != TURN or len(reply) > least
        assert (sampled.tokens[i, len(reply) :] == PAD).all()
    assert sampled.tokens.shape[1] == sampled.lengths.max()


def test_a_greedy_reply_is_the_likeliest_token_after_token() -> None:
    model = table_generator()
    [reply] = replies(write(model, torch.tensor([[2]]), [Decoding(temperature=0.0, min_tokens=0)], [0]))
    previous = START
    for token in reply:
        logits = model.table[2, previous].clone()
        logits[[PAD, START]] = -math.inf
        assert token == int(logits.argmax())
        previous = token


def test_sampled_replies_follow_the_model() -> None:
    """The first two tokens together, the second after the first, as the table says."""
    model = table_generator(vocabulary=6)
    count = 20_000
    state = model.encode(torch.full((count, 1), 3))
    tokens = write_replies(model, state, plain_sampling(count, SEEDS, REPLY_TOKENS)).tokens
    table = model.table[3].clone()
    table[:, [PAD, START]] = -math.inf
    conditional = torch.softmax(table, dim=1)
    joint = conditional[START][:, None] * conditional
    joint[TURN] = 0
    joint[TURN, PAD] = conditional[START, TURN]

    assert_follows(tokens[:, 0] * 6 + tokens[:, 1], joint.flatten())


MIXED = [
    Decoding(temperature=1.0, min_tokens=0),
    Decoding(temperature=0.0),
    Decoding(temperature=1.2, top_p=0.8, max_tokens=3),
    Decoding(temperature=0.8, top_k=4, repetition_penalty=1.5),
    Decoding(temperature=1.0, no_repeat_ngram=2, min_tokens=6),
    Decoding(temperature=2.0, top_p=0.05),
]


@settings(max_examples=40)
@given(st.data())
def test_a_reply_depends_on_nothing_beside_it(data: st.DataObject) -> None:
    """Same context, settings and seed: the same reply, in any batch, at any place, whenever its neighbours end."""
    model = table_generator()
    row = st.tuples(st.integers(0, 3), st.integers(0, len(MIXED) - 1), st.integers(0, SEED_LIMIT - 1))
    rows = data.draw(st.lists(row, min_size=1, max_size=7))
    contexts = torch.tensor([[context] for context, _, _ in rows])
    together = write(model, contexts, [MIXED[i] for _, i, _ in rows], [seed for _, _, seed in rows])

    for i, (context, decoding, seed) in enumerate(rows):
        alone = write(model, torch.tensor([[context]]), [MIXED[decoding]], [seed])
        assert replies(alone)[0] == replies(together)[i]
        assert alone.finished[0] == together.finished[i]


@pytest.mark.parametrize("decoding", MIXED)
def test_a_real_models_reply_depends_on_nothing_beside_it(architecture: Architecture, decoding: Decoding) -> None:
    model = generator(architecture)
    contexts = [[5, 6, TURN], [7, TURN], [8, 9, 10, 11, 12, 13, 14, TURN, 15, TURN], [TURN], [5, 6, 7, TURN]]
    for seed in range(2):
        alone = replies(write(model, torch.tensor(contexts[:1]), [decoding], [seed]))[0]
        for place in (0, 2, 4):
            order = [*range(1, place + 1), 0, *range(place + 1, 5)]
            decodings = [decoding if i == 0 else MIXED[(i + seed) % 6] for i in order]
            seeds = [seed if i == 0 else 100 * seed + i for i in order]
            together = write(model, padded([contexts[i] for i in order]), decodings, seeds)
            assert replies(together)[place] == alone


@pytest.mark.parametrize("decoding", [d for d in MIXED if d.max_tokens is None])
def test_a_reply_goes_on_as_if_it_had_written_its_beginning(architecture: Architecture, decoding: Decoding) -> None:
    model = generator(architecture)
    contexts, seeds = padded([[5, 6, TURN], [7, TURN]]), [11, 12]
    decodings = [replace(decoding, min_tokens=8)] * 2
    whole = write(model, contexts, decodings, seeds)

    for count in (1, 2, 5):
        continued = write(model, contexts, decodings, seeds, whole.tokens[:, :count])
        assert replies(continued) == replies(whole)


def test_lanes_that_are_chosen_keep_their_settings() -> None:
    logits = torch.randn(6, 30, generator=torch.Generator().manual_seed(1))
    written = torch.randint(3, 30, (6, 5), generator=torch.Generator().manual_seed(2))
    every = Lanes(MIXED, torch.arange(6), 9)
    order = torch.tensor([4, 2, 2, 5])
    chosen = every.select(order)

    assert len(chosen) == 4
    assert torch.equal(chosen.constrain(logits[order], written[order]), every.constrain(logits, written)[order])
    assert torch.equal(chosen.draw(logits[order], 3), every.draw(logits, 3)[order])
    assert chosen.max_tokens.tolist() == [9, 3, 3, 9]


# Settings


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_k", 10**400),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", math.nan),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", math.inf),
        ("no_repeat_ngram", -1),
        ("no_repeat_ngram", 2.5),
        ("min_tokens", -1),
        ("min_tokens", 0.5),
        ("max_tokens", 0),
        ("max_tokens", -3),
        ("max_tokens", 1.5),
    ],
)
def test_a_setting_out_of_its_range_is_named(param: str, value: Any) -> None:
    with pytest.raises(RequestError, match=param) as caught:
        Decoding(**{param: value})

    assert caught.value.param == param


def test_the_ends_of_the_ranges_are_allowed() -> None:
    Decoding(temperature=0, top_k=0, top_p=1, repetition_penalty=0.1, no_repeat_ngram=0, min_tokens=0, max_tokens=1)
    Decoding(temperature=2, top_k=1_000_000, top_p=1e-9, repetition_penalty=10, no_repeat_ngram=100)


def test_the_bundles_limit_is_filled_in() -> None:
    assert with_limit(Decoding(), 12).max_tokens == 12
    assert with_limit(Decoding(max_tokens=5), 12).max_tokens == 5
    assert with_limit(Decoding(max_tokens=1), 12).min_tokens == 1


@pytest.mark.parametrize(
    ("decoding", "param"),
    [(Decoding(max_tokens=13), "max_tokens"), (Decoding(min_tokens=6, max_tokens=5), "min_tokens")],
)
def test_more_than_the_model_can_write_is_refused(decoding: Decoding, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        with_limit(decoding, 12)

    assert caught.value.param == param
