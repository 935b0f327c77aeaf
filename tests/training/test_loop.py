"""The loop's cadence, rollbacks and ends, with an objective and a watch that only write down what happens."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from training.loop import Cadence, CollapseError, Progress, Verdict, run_stage


class CountingObjective:
    """Count steps; the metrics of a step are told by `metrics`."""

    def __init__(self, metrics: Callable[[int], dict[str, float]] = lambda step: {"loss": float(step)}) -> None:
        self.shares: list[float] = []
        self.metrics = metrics

    def step(self, progress: float) -> dict[str, float]:
        """Return what `metrics` says."""
        self.shares.append(progress)
        return self.metrics(len(self.shares))


class WritingWatch:
    """Write down each call; the evaluations that `ill` names raise an alarm."""

    def __init__(self, *ill: int) -> None:
        self.ill = ill
        self.calls: list[Any] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.ticks: list[float] = []
        self.snapshots = 0

    def evaluate(self, step: int) -> Verdict:
        """Find nothing wrong but at the steps that were named."""
        self.calls.append(("evaluate", step))
        return Verdict({"valid": 1.0}, ["too dull"] if step in self.ill else [])

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Keep the line."""
        self.logged.append((step, metrics))

    def save(self) -> None:
        """Write down the save."""
        self.calls.append("save")

    def snapshot(self) -> int:
        """Return a number."""
        self.snapshots += 1
        return self.snapshots

    def restore(self, snapshot: int) -> None:
        """Write down which snapshot."""
        self.calls.append(("restore", snapshot))

    def event(self, text: str) -> None:
        """Write down the text."""
        self.calls.append(text)

    def tick(self, share: float, metrics: dict[str, float]) -> None:
        """Keep the share."""
        self.ticks.append(share)


def cadence(steps: int, *, evaluate: int = 4, save: int = 100, minutes: float = 0.0) -> Cadence:
    return Cadence(steps, minutes, evaluate, save)


def test_it_steps_to_the_end_evaluating_and_saving_on_the_way_and_at_the_end() -> None:
    objective, watch, progress = CountingObjective(), WritingWatch(), Progress()
    run_stage(objective, cadence(10), progress, watch, 3)
    assert objective.shares == pytest.approx([i / 10 for i in range(10)])
    assert watch.calls == [("evaluate", 4), "save", ("evaluate", 8), "save", ("evaluate", 10), "save"]
    assert watch.ticks[-1] == 1.0
    assert (progress.step, progress.good_step, progress.finished, progress.rollbacks) == (10, 10, True, 0)


def test_saves_between_evaluations_do_not_evaluate() -> None:
    watch = WritingWatch()
    run_stage(CountingObjective(), cadence(9, evaluate=6, save=2), Progress(), watch, 3)
    assert watch.calls == ["save", "save", ("evaluate", 6), "save", "save", ("evaluate", 9), "save"]


def test_each_line_of_the_log_is_the_mean_since_the_line_before() -> None:
    watch = WritingWatch()
    run_stage(CountingObjective(), cadence(6, evaluate=4, save=2), Progress(), watch, 3)
    assert [(step, metrics["loss"]) for step, metrics in watch.logged] == [(2, 1.5), (4, 3.5), (6, 5.5)]
    assert [metrics.get("valid") for _, metrics in watch.logged] == [None, 1.0, 1.0]


def test_the_mean_of_a_measure_is_over_the_steps_that_have_it() -> None:
    objective = CountingObjective(lambda step: {"loss": 1.0, **({"d_loss": 6.0} if step == 2 else {})})
    watch = WritingWatch()
    run_stage(objective, cadence(4), Progress(), watch, 3)
    assert watch.logged[0][1]["d_loss"] == 6.0


def test_an_alarm_goes_back_to_the_last_healthy_snapshot_and_on() -> None:
    watch, progress = WritingWatch(8), Progress()
    run_stage(CountingObjective(), cadence(12), progress, watch, 3)
    assert watch.calls == [
        ("evaluate", 4), "save",
        ("evaluate", 8), "step 8: too dull: back to step 4", ("restore", 2), "save",
        ("evaluate", 12), "save",
    ]  # fmt: skip
    assert (progress.rollbacks, progress.good_step, progress.finished) == (1, 12, True)


def test_after_a_rollback_the_softened_state_is_what_the_next_rollback_goes_to() -> None:
    watch = WritingWatch(4, 8)
    run_stage(CountingObjective(), cadence(12), Progress(), watch, 3)
    # Snapshot 1 is the start, 2 was taken after the first rollback.
    assert [call for call in watch.calls if call[0] == "restore"] == [("restore", 1), ("restore", 2)]


def test_a_third_alarm_ends_the_stage() -> None:
    watch, progress = WritingWatch(4, 8, 12), Progress()
    with pytest.raises(CollapseError, match=r"training collapsed 3 times \(last: too dull\)"):
        run_stage(CountingObjective(), cadence(100), progress, watch, 3)
    assert watch.calls[-2:] == [("restore", 3), "save"]
    assert (progress.step, progress.rollbacks) == (12, 3)


def test_a_collapsed_stage_that_is_resumed_says_so_again_and_does_nothing() -> None:
    progress = Progress()
    with pytest.raises(CollapseError):
        run_stage(CountingObjective(), cadence(100), progress, WritingWatch(4, 8, 12), 3)
    watch, objective = WritingWatch(), CountingObjective()
    with pytest.raises(CollapseError, match="too dull"):
        run_stage(objective, cadence(100), progress, watch, 3)
    assert (objective.shares, watch.calls) == ([], [])


def test_an_alarm_at_the_very_end_does_not_end_the_stage_in_ill_health() -> None:
    watch, progress = WritingWatch(8), Progress()
    run_stage(CountingObjective(), cadence(8), progress, watch, 3)
    assert watch.calls[-2:] == [("evaluate", 9), "save"]
    assert (progress.finished, progress.good_step) == (True, 9)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_an_alarm_at_once(value: float) -> None:
    objective = CountingObjective(lambda step: {"loss": value if step == 2 else 1.0})
    watch, progress = WritingWatch(), Progress()
    run_stage(objective, cadence(4), progress, watch, 3)
    assert watch.calls[:3] == [f"step 2: loss is {value}: back to step 0", ("restore", 1), "save"]
    assert (progress.rollbacks, progress.finished) == (1, True)


def test_a_measure_that_is_not_finite_is_an_alarm() -> None:
    class Blind(WritingWatch):
        def evaluate(self, step: int) -> Verdict:
            return Verdict({"valid_nll": math.nan if step == 4 else 1.0})

    watch, progress = Blind(), Progress()
    run_stage(CountingObjective(), cadence(8), progress, watch, 3)
    assert watch.calls[0] == "step 4: valid_nll is nan: back to step 0"
    assert progress.rollbacks == 1


def test_a_stage_limited_in_time_ends_with_its_time() -> None:
    objective, watch, progress = CountingObjective(), WritingWatch(), Progress()
    run_stage(objective, cadence(10**9, evaluate=10**9, save=10**9, minutes=0.05 / 60), progress, watch, 3)
    assert 0.05 <= progress.seconds < 5
    assert progress.finished
    assert objective.shares == sorted(objective.shares)
    assert objective.shares[0] < 0.5
    assert watch.ticks[-1] == 1.0
    assert watch.calls == [("evaluate", progress.step), "save"]


def test_time_that_was_spent_before_an_interruption_counts() -> None:
    progress = Progress(step=7, seconds=60.0)
    run_stage(CountingObjective(), cadence(10**9, minutes=1.0), progress, WritingWatch(), 3)
    assert progress.step == 8


def test_a_finished_stage_is_not_repeated() -> None:
    objective, watch = CountingObjective(), WritingWatch()
    run_stage(objective, cadence(4), Progress(step=4, finished=True), watch, 3)
    assert (objective.shares, watch.calls) == ([], [])


def test_a_stage_goes_on_from_where_it_stood() -> None:
    objective, watch = CountingObjective(), WritingWatch()
    run_stage(objective, cadence(10), Progress(step=6), watch, 3)
    assert objective.shares == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert watch.calls == [("evaluate", 8), "save", ("evaluate", 10), "save"]
