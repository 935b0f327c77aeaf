"""The queue before the engines."""

from hypothesis import given
from hypothesis import strategies as st

from chatbot.engine.waiting import Pace, Urgency, Waiting, WaitingLine


def line(*entries: tuple[str, str, int, Urgency], capacity: int = 100) -> WaitingLine[str]:
    waiting: WaitingLine[str] = WaitingLine(capacity)
    for item, model, size, urgency in entries:
        waiting.add(Waiting(item, model, size, urgency, deadline=float(size)))
    return waiting


def drain(waiting: WaitingLine[str]) -> list[str]:
    taken = []
    while (one := waiting.take(lambda _: True)) is not None:
        taken.append(one.item)
    return taken


NOW, LATER = Urgency.INTERACTIVE, Urgency.BATCH


def test_who_sits_before_the_screen_goes_before_lists() -> None:
    assert drain(line(("a", "m", 1, LATER), ("b", "m", 1, NOW), ("c", "m", 1, LATER), ("d", "m", 1, NOW))) == [
        "b",
        "d",
        "a",
        "c",
    ]


def test_models_take_turns_however_many_wait_for_one() -> None:
    entries = [(f"x{i}", "x", 1, NOW) for i in range(4)] + [
        ("y0", "y", 1, NOW),
        ("z0", "z", 1, NOW),
        ("y1", "y", 1, NOW),
    ]
    assert drain(line(*entries)) == ["x0", "y0", "z0", "x1", "y1", "x2", "x3"]


def test_a_model_without_room_keeps_nobody_elses_waiting_and_is_not_overtaken_within() -> None:
    waiting = line(("large", "x", 9, NOW), ("small", "x", 1, NOW), ("other", "y", 1, NOW), ("list", "x", 1, LATER))
    room = {"x": 5, "y": 5}
    taken = waiting.take(lambda one: one.size <= room[one.model])
    assert taken is not None
    assert taken.item == "other"
    after = waiting.take(lambda one: one.size <= room[one.model])
    assert after is not None
    assert after.item == "list"  # another class: the large one still has its place
    assert waiting.take(lambda one: one.size <= room[one.model]) is None


def test_the_queue_is_bounded_but_takes_anything_when_empty() -> None:
    waiting = line(capacity=4)
    assert waiting.has_room(50, "m", NOW)
    waiting.add(Waiting("a", "m", 3, NOW, 0.0))
    assert waiting.has_room(1, "n", NOW)
    assert not waiting.has_room(2, "n", NOW)


def test_lists_take_no_room_from_those_before_the_screen() -> None:
    waiting = line(("list", "m", 4, LATER), capacity=4)
    assert not waiting.has_room(1, "m", LATER)
    assert waiting.has_room(4, "m", NOW)


def test_a_models_own_bound_is_kept_and_other_models_do_not_count() -> None:
    waiting = line(("a", "m", 3, NOW), ("b", "n", 9, NOW))
    assert waiting.has_room(1, "m", NOW, most=4)
    assert not waiting.has_room(2, "m", NOW, most=4)
    assert waiting.has_room(50, "k", NOW, most=4)  # of it none waits


@given(
    st.lists(
        st.tuples(st.sampled_from("xy"), st.integers(1, 9), st.sampled_from([NOW, LATER]), st.booleans()), max_size=60
    ),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_what_is_let_in_never_passes_the_bounds_but_by_one_that_found_nobody_waiting(
    arrivals: list[tuple[str, int, Urgency, bool]], capacity: int, most: int
) -> None:
    waiting: WaitingLine[int] = WaitingLine(capacity)
    for number, (model, size, urgency, served) in enumerate(arrivals):
        if served:
            waiting.take(lambda _: True)
        if waiting.has_room(size, model, urgency, most):
            alone = not waiting.waiting(urgency, model)
            waiting.add(Waiting(number, model, size, urgency, 0.0))
            assert alone or waiting.waiting(urgency, model) <= most
        else:
            assert waiting.waiting(urgency) + size > capacity or waiting.waiting(urgency, model) + size > most
        assert waiting.size == sum(one.size for one in waiting)


def test_who_waited_too_long_or_left_is_taken_out() -> None:
    waiting = line(("a", "m", 1, NOW), ("b", "n", 2, LATER), ("c", "m", 3, NOW))
    assert [one.item for one in waiting.expire(2.0)] == ["a", "b"]
    assert waiting.size == 3
    assert [one.item for one in waiting.remove(lambda one: one.item == "c")] == ["c"]
    assert waiting.size == 0
    assert waiting.take(lambda _: True) is None


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 9), st.sampled_from([NOW, LATER]))))
def test_everybody_is_served_once_and_the_size_is_always_theirs(
    entries: list[tuple[str, int, Urgency]],
) -> None:
    waiting = line(*((str(i), *entry) for i, entry in enumerate(entries)))
    assert waiting.size == sum(size for _, size, _ in entries)
    assert sorted(drain(waiting), key=int) == [str(i) for i in range(len(entries))]
    assert waiting.size == 0


def test_the_pace_is_that_of_the_busy_time() -> None:
    pace = Pace(guess=1.0, memory_s=1.0)
    pace.note(0, 0.0, busy=True)
    for second in range(1, 11):
        pace.note(50, float(second), busy=True)
    pace.note(0, 10.0, busy=False)
    pace.note(0, 1000.0, busy=True)  # nothing was to be done for long: that says nothing
    assert pace.seconds(500) in (10, 11)
    assert pace.seconds(0) == 1
    assert pace.seconds(10**9) == 60
