"""The lease queue's rules, one by one, on rows made by hand. Its races are in `test_queue`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.database import open_engine
from app.migration import metadata
from app.raters.tables import Rater
from app.studies import queue
from app.studies.protocol import Protocol
from app.studies.tables import Assignment, Item, Study

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
LATER, EARLIER = AT + timedelta(minutes=5), AT - timedelta(minutes=5)
ME, OTHER, THIRD = 2, 1, 3


class Drawn(Random):
    """A source of chance that says what comes."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        """Return it."""
        return self.value


class Desk:
    """A study with three raters, and what there is to judge."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.study = self._study(1)
        self._study(2)
        self.raters = {
            n: Rater(id=n, public_id=f"r{n}", kind="invited", created_at=EARLIER) for n in (ME, OTHER, THIRD)
        }
        session.add_all(self.raters.values())
        session.flush()

    def _study(self, number: int) -> Study:
        study = Study(
            id=number, slug=f"s{number}", title="", protocol={}, seed=1, status="running",
            created_at=EARLIER, started_at=EARLIER,
        )  # fmt: skip
        self.session.add(study)
        return study

    def item(self, number: int, purpose: str = "normal", **more: object) -> Item:
        """Add an item about a context of its own, for one rater."""
        given = {
            "study_id": 1,
            "position": number,
            "kind": "pair",
            "context_id": number,
            "response_a_id": "a",
            "response_b_id": "b",
            "target": 1,
            "done": 0,
            "status": "open",
        }
        if purpose == "gold":
            given |= {"gold": {"choice": "a"}, "target": None}
        if purpose == "repeat":
            given |= {"repeats_item_id": number - 100, "context_id": number - 100}
        item = Item(id=number, purpose=purpose, **{**given, **more})
        self.session.add(item)
        self.session.flush()
        return item

    def met(
        self, item: int, rater: int = ME, state: str = "done", *, minutes: float = 0, expires: datetime = LATER,
        swapped: bool = False,
    ) -> Assignment:  # fmt: skip
        """Let a rater have met an item; it was finished so many minutes after EARLIER."""
        finished = EARLIER + timedelta(minutes=minutes) if state in ("done", "skipped") else None
        row = Assignment(
            item_id=item, rater_id=rater, state=state, swapped=swapped, lease_token=f"{item}-{rater}",
            leased_at=EARLIER, expires_at=expires, finished_at=finished,
            skip_reason="other" if state == "skipped" else None,
        )  # fmt: skip
        self.session.add(row)
        self.session.flush()
        return row

    def lease(self, drawn: float = 0.9, **protocol: object) -> Assignment | None:
        """Ask for the next item."""
        return queue.lease(
            self.session, self.study, Protocol(kind="pair", **protocol), self.raters[ME], AT, Drawn(drawn)
        )

    def next(self, drawn: float = 0.9, **protocol: object) -> int | None:
        """Return the number of the next item."""
        found = self.lease(drawn, **protocol)
        return None if found is None else found.item_id


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """Give a database without the rows that items and replies refer to."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('queue') / 'queue.db'}", foreign_keys=False)
    metadata().create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def desk(engine: sa.Engine) -> Iterator[Desk]:
    """Give a desk whose rows are gone after the test."""
    with Session(engine) as session:
        yield Desk(session)


# What a rater holds.


def test_an_open_lease_is_the_raters_own_and_still_open(desk: Desk) -> None:
    me = desk.raters[ME]
    desk.met(1, OTHER, "leased")
    desk.met(2, ME, "done")
    assert queue.open_lease(desk.session, me, AT) is None
    held = desk.met(3, ME, "leased", expires=AT + timedelta(seconds=1))
    assert queue.open_lease(desk.session, me, AT) is held
    assert held.state == "leased"


@pytest.mark.parametrize("expires", [AT, EARLIER])
def test_a_lease_that_has_run_out_is_taken_back(desk: Desk, expires: datetime) -> None:
    desk.met(1, ME, "leased", expires=expires)
    assert queue.open_lease(desk.session, desk.raters[ME], AT) is None
    assert desk.session.scalar(sa.select(Assignment.state)) == "expired"


# What they get next.


def test_a_lease_is_the_raters_for_as_long_as_the_protocol_says(desk: Desk) -> None:
    desk.item(1)
    found = desk.lease(lease_seconds=90)
    assert found is not None
    assert (found.item_id, found.rater_id, found.state) == (1, ME, "leased")
    assert (found.leased_at, found.expires_at) == (AT, AT + timedelta(seconds=90))
    assert len(found.lease_token) == 32  # 24 bytes of chance in base64
    assert desk.session.scalars(sa.select(Assignment)).all() == [found]


def test_without_items_there_is_no_lease(desk: Desk) -> None:
    assert desk.lease() is None


def test_the_item_that_lacks_fewest_judgements_comes_first(desk: Desk) -> None:
    for number, done in ((1, 0), (2, 2), (3, 1)):
        desk.item(number, target=3, done=done)
    assert desk.next() == 2


@pytest.mark.parametrize("changed", [{"study_id": 2}, {"status": "withdrawn"}, {"status": "done"}, {"done": 1}])
def test_items_that_are_not_to_be_given(desk: Desk, changed: dict[str, object]) -> None:
    desk.item(1, **changed)
    desk.item(101, "repeat")
    desk.item(2, "gold")
    assert desk.next() is None
    desk.item(3, "aa")
    assert desk.next() == 3


def test_leases_that_others_hold_fill_an_item_and_those_that_ran_out_do_not(desk: Desk) -> None:
    desk.item(1, target=3, done=1)
    desk.met(1, OTHER, "leased")
    desk.met(2, THIRD, "leased")  # of another item
    assert desk.next() == 1
    desk.session.execute(sa.delete(Assignment).filter_by(rater_id=ME))
    desk.session.execute(sa.update(Assignment).values(item_id=1))
    assert desk.next() is None
    desk.session.execute(sa.update(Assignment).filter_by(rater_id=THIRD).values(expires_at=AT))
    assert desk.next() == 1


def test_a_context_is_met_once_but_a_lease_that_ran_out_may_be_taken_up_again(desk: Desk) -> None:
    desk.item(1)
    desk.item(2, context_id=1)
    desk.met(2, OTHER, "skipped")  # that others met it says nothing
    before = desk.met(1, ME, "expired", expires=EARLIER, swapped=True)
    found = desk.lease(drawn=0.9)  # a new draw would not swap
    assert found is before
    assert (found.state, found.swapped, found.expires_at) == ("leased", True, AT + timedelta(seconds=600))
    assert found.lease_token != "1-2"
    for state in ("done", "skipped", "leased"):
        found.state, found.finished_at = state, None if state == "leased" else AT
        found.skip_reason = "other" if state == "skipped" else None
        assert desk.next() is None


def test_another_item_of_a_context_is_not_given_after_a_lease_that_ran_out(desk: Desk) -> None:
    desk.item(1, status="withdrawn")
    desk.item(2, context_id=1)
    desk.met(1, ME, "expired", expires=EARLIER)
    assert desk.next() is None
    assert not queue.may_come_free(desk.session, desk.study, desk.raters[ME])


def test_an_item_found_full_when_locked_is_passed_over(desk: Desk) -> None:
    # What was counted when items were looked at is behind: two have judged the first, which says one.
    desk.item(1, target=2, done=1)
    desk.item(2, target=2, done=0)
    for rater in (OTHER, THIRD):
        desk.met(1, rater)
    assert desk.next() == 2


@pytest.mark.parametrize(("full", "expected"), [(19, 99), (20, None)])
def test_after_twenty_full_items_the_rater_waits(desk: Desk, full: int, expected: int | None) -> None:
    for number in range(1, full + 1):
        desk.item(number, target=2, done=1)
        for rater in (OTHER, THIRD):
            desk.met(number, rater)
    desk.item(99, target=2)
    assert desk.next() == expected


def test_what_others_changed_is_seen_when_an_item_is_locked(desk: Desk) -> None:
    item = desk.item(1)
    desk.met(1, OTHER)
    desk.session.execute(sa.text("update item set target = 2, done = 1 where id = 1"))
    assert item.target == 1  # as this session remembers it
    assert desk.next() == 1
    desk.session.execute(sa.text("update item set done = 2 where id = 1"))
    assert queue.lock_item(desk.session, 1).done == 2


# Gold.


@pytest.mark.parametrize(("drawn", "expected"), [(0.0, 2), (0.29, 2), (0.3, 1), (0.9, 1)])
def test_gold_comes_at_its_rate(desk: Desk, drawn: float, expected: int) -> None:
    desk.item(1)
    desk.item(2, "gold")
    assert desk.next(drawn, gold_rate=0.3) == expected


def test_gold_at_rate_zero_never_comes(desk: Desk) -> None:
    desk.item(1)
    desk.item(2, "gold")
    assert desk.next(0.0) == 1


def test_gold_that_was_met_or_is_not_there_leaves_ordinary_work(desk: Desk) -> None:
    desk.item(1)
    assert desk.next(0.0, gold_rate=0.5) == 1
    desk.session.execute(sa.delete(Assignment))
    desk.item(2, "gold")
    desk.met(2)
    assert desk.next(0.0, gold_rate=0.5) == 1


def test_gold_may_be_met_by_any_number_of_raters(desk: Desk) -> None:
    desk.item(1)
    desk.item(2, "gold")
    for rater in (OTHER, THIRD):
        desk.met(2, rater)
    assert desk.next(0.0, gold_rate=0.5) == 2


def test_those_who_wait_for_ordinary_work_get_no_gold(desk: Desk) -> None:
    desk.item(1)
    desk.item(2, "gold")
    desk.met(1, OTHER, "leased")
    assert desk.next(0.0, gold_rate=0.5) is None


# Repeats.


def judged(desk: Desk, count: int) -> None:
    """Let me have judged items 1 to `count`, one a minute."""
    for number in range(1, count + 1):
        desk.item(number, status="done", done=1)
        desk.met(number, minutes=number)


@pytest.mark.parametrize(("count", "expected"), [(5, 50), (6, 101), (7, 101)])
def test_a_repeat_comes_before_other_work_after_five_other_items(desk: Desk, count: int, expected: int) -> None:
    judged(desk, count)
    desk.item(101, "repeat")
    desk.item(50)
    desk.item(60, "gold")
    assert desk.next(0.0, repeat_rate=0.1, gold_rate=0.5 if count > 5 else 0.0) == expected


def test_without_other_work_a_repeat_comes_at_once(desk: Desk) -> None:
    judged(desk, 1)
    desk.item(101, "repeat")
    assert desk.next(repeat_rate=0.1) == 101


def test_a_study_without_repeats_gives_none(desk: Desk) -> None:
    judged(desk, 7)
    desk.item(101, "repeat")
    assert desk.next() is None


def test_the_repeat_of_what_was_judged_first_comes_first(desk: Desk) -> None:
    judged(desk, 8)
    for number, minutes in ((20, 0), (10, -1), (15, 0.5)):
        desk.item(number, status="done", done=1)
        desk.met(number, minutes=minutes)
        desk.item(100 + number, "repeat")
    assert desk.next(repeat_rate=0.1) == 110
    desk.session.execute(sa.update(Assignment).filter_by(item_id=20).values(finished_at=EARLIER - timedelta(hours=1)))
    desk.session.execute(sa.delete(Assignment).filter_by(item_id=110))
    assert desk.next(repeat_rate=0.1) == 120


def test_the_gap_counts_what_the_rater_judged_since_and_nothing_else(desk: Desk) -> None:
    judged(desk, 5)
    for number in (6, 7):
        desk.item(number, status="done", done=1)
    desk.met(6, OTHER, minutes=6)
    desk.met(7, ME, "skipped", minutes=7)
    desk.item(8, status="done", done=1)
    desk.met(8, minutes=1)  # at the same moment as the original: not since
    desk.item(101, "repeat")
    desk.item(50)
    assert desk.next(repeat_rate=0.1) == 50


@pytest.mark.parametrize("state", ["skipped", "expired", "leased"])
def test_only_what_was_judged_is_repeated(desk: Desk, state: str) -> None:
    desk.item(1, status="done", done=1)
    desk.met(1, ME, state)
    desk.met(1, OTHER)
    desk.item(101, "repeat")
    assert desk.next(repeat_rate=0.1) is None


@pytest.mark.parametrize(
    ("state", "rater", "expected"),
    [("done", ME, None), ("skipped", ME, None), ("expired", ME, 101), ("skipped", OTHER, 101), ("done", OTHER, None)],
)
def test_a_repeat_is_met_once_and_has_room_for_as_many_as_its_item(
    desk: Desk, state: str, rater: int, expected: int | None
) -> None:
    judged(desk, 1)
    desk.item(101, "repeat")
    desk.met(101, rater, state, expires=EARLIER)
    assert desk.next(repeat_rate=0.1) == expected


@pytest.mark.parametrize("changed", [{"study_id": 2}, {"status": "withdrawn"}, {"done": 1}])
def test_repeats_that_are_not_to_be_given(desk: Desk, changed: dict[str, object]) -> None:
    judged(desk, 1)
    desk.item(101, "repeat", **changed)
    assert desk.next(repeat_rate=0.1) is None


# Sides.


@pytest.mark.parametrize(("drawn", "swapped"), [(0.0, True), (0.49, True), (0.5, False), (0.9, False)])
def test_sides_are_drawn_evenly(desk: Desk, drawn: float, swapped: bool) -> None:
    desk.item(1)
    found = desk.lease(drawn)
    assert found is not None
    assert found.swapped is swapped


@pytest.mark.parametrize("first", [True, False])
def test_a_repeat_has_its_sides_the_other_way_round(desk: Desk, first: bool) -> None:
    for number in (2, 1):
        desk.item(number, status="done", done=1)
    desk.met(2, ME, swapped=not first)
    desk.met(1, OTHER, swapped=not first)
    desk.met(1, ME, swapped=first)
    desk.item(101, "repeat")
    found = desk.lease(0.9, repeat_rate=0.1)
    assert found is not None
    assert found.swapped is not first


def test_a_single_reply_has_no_sides(desk: Desk) -> None:
    desk.item(1, kind="scale", response_b_id=None)
    found = desk.lease(0.0)
    assert found is not None
    assert found.swapped is False


# Counting.


def test_an_item_in_the_hands_of_others_may_come_free(desk: Desk) -> None:
    me = desk.raters[ME]
    desk.item(1, "gold")
    desk.item(102, "repeat")
    assert not queue.may_come_free(desk.session, desk.study, me)
    desk.item(2, "aa")
    desk.met(2, OTHER, "leased")
    assert queue.may_come_free(desk.session, desk.study, me)
    desk.met(2, ME, "skipped")
    assert not queue.may_come_free(desk.session, desk.study, me)


def test_waiting_items_are_counted_without_gold_repeats_and_what_is_full_or_met(desk: Desk) -> None:
    me = desk.raters[ME]
    assert queue.count_waiting(desk.session, desk.study, me, AT) == 0
    for number, purpose in ((1, "normal"), (2, "aa"), (3, "gold"), (104, "repeat"), (5, "normal"), (6, "normal")):
        desk.item(number, purpose)
    desk.met(5, OTHER, "leased")
    desk.met(6, ME)
    assert queue.count_waiting(desk.session, desk.study, me, AT) == 2
    assert queue.count_waiting(desk.session, desk.study, me, LATER) == 3  # that lease has run out by then
    desk.study.status, desk.study.closed_at = "closed", AT
    assert queue.count_waiting(desk.session, desk.study, me, AT) == 0


def test_done_counts_those_who_judged(desk: Desk) -> None:
    item = desk.item(1, target=3)
    assert queue.count_done(desk.session, item) == 0
    desk.met(1, OTHER)
    desk.met(1, THIRD, "leased")
    desk.met(1, ME, "skipped")
    desk.met(2, ME)
    assert queue.count_done(desk.session, item) == 1


@pytest.mark.parametrize(
    ("state", "expires", "room"),
    [
        ("done", EARLIER, False),
        ("leased", LATER, False),
        ("leased", AT, True),
        ("skipped", LATER, True),
        ("expired", LATER, True),
    ],
)
def test_room_is_what_others_leave(desk: Desk, state: str, expires: datetime, room: bool) -> None:
    item = desk.item(1, target=2)
    desk.met(1, OTHER, state, expires=expires)
    desk.met(2, THIRD)  # another item
    assert queue.has_room(desk.session, item, ME, AT)
    desk.met(1, THIRD)
    assert queue.has_room(desk.session, item, ME, AT) is room
    assert queue.has_room(desk.session, item, THIRD, AT)  # who judged it does not stand in their own way


def test_gold_always_has_room(desk: Desk) -> None:
    item = desk.item(1, "gold")
    desk.met(1, OTHER)
    assert queue.has_room(desk.session, item, ME, AT)
