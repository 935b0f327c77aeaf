"""The stages of a run: which objective, how often to look, what to keep. The loop itself is `loop`'s business."""

import copy
import dataclasses
from typing import Any

import torch
from torch import nn

from chatbot.bundle import AnyGenerator, load_bundle
from chatbot.decoding import Sampled
from training import ranks
from training.backward import backward_cadence, keep_backward, learn_backwards, turned_pairs
from training.config import Stage
from training.evaluation.probe import held_out_nll, measure, shown
from training.loop import Cadence, CollapseError, Progress, Verdict, run_stage
from training.objectives.discrimination import Discrimination
from training.objectives.mle import MaximumLikelihood
from training.safeguards import ROLLBACKS, Probe, alarms
from training.session import PRODUCT, REFERENCE, Session
from training.systems import AdversarialObjective, build


def run_one(session: Session, stage: Stage, progress: Progress, saved: dict[str, Any] | None) -> None:
    """Run `stage` from `progress` to its end; `saved` is the run state of an interrupted one.

    Raises CollapseError when the safeguards give up; the last healthy bundle, if there was one, is then on disk.
    """
    product = session.run.directory / PRODUCT
    watch = _StageWatch(session, stage, progress)
    if saved is not None:
        watch.load(saved)
    try:
        run_stage(watch.objective, watch.cadence, progress, watch, ROLLBACKS)
    except CollapseError as error:
        kept = f"the best model so far is kept in {product}" if product.is_dir() else "no model was worth keeping"
        raise CollapseError(f"{error}; {kept}") from None
    if stage == "backward":
        return  # its model is no reply generator: it stays where it was kept, and the product is what it was
    best = load_bundle(product, session.device, session.generator)
    if stage == "mle":
        session.generator.load_state_dict(best.generator.state_dict())
    if stage == "discriminator" and best.discriminator is not None:
        session.discriminator.load_state_dict(best.discriminator.state_dict())
        session.discrimination.accuracy = best.info["metrics"]["d_accuracy"]
    if stage != "adversarial" and session.config.stages[-1] != stage:
        session.keep(REFERENCE, progress.step, stage, dict(best.info["metrics"]))


class _StageWatch:
    """Measure, write and restore for the loop."""

    def __init__(self, session: Session, stage: Stage, progress: Progress) -> None:
        self.session, self.stage, self.progress = session, stage, progress
        self.reference: AnyGenerator | None = None
        self.start: Probe | None = None
        if stage != "mle":
            kept = session.run.directory / REFERENCE
            self.reference = load_bundle(kept, session.device, session.generator).generator
        if stage == "adversarial" and self.reference is not None:
            self.start = ranks.first(measure(self.reference, session.probe, session.precision, None)[0])
        self.models: dict[str, nn.Module] = {"generator": session.generator, "discriminator": session.discriminator}
        self.objective, self.cadence = self._plan()
        self.measured: tuple[Probe, Sampled] | None = None

    def _plan(self) -> tuple[MaximumLikelihood | Discrimination | AdversarialObjective, Cadence]:
        session, config = self.session, self.session.config
        if self.stage == "mle":
            mle = config.mle
            cadence = Cadence(mle.steps, mle.minutes, mle.evaluate_every, config.save_every)
            batches = session.likelihood_batches(mle.batch)
            return MaximumLikelihood(session.generator, batches, mle, session.precision), cadence
        if self.stage == "discriminator":
            judge = config.discriminator
            cadence = Cadence(judge.steps, judge.minutes, judge.evaluate_every, config.save_every)
            return session.discrimination, cadence
        if self.stage == "backward":
            self.models["backward"], learning = learn_backwards(session)
            return learning, backward_cadence(config)
        adversarial = config.adversarial
        assert self.reference is not None
        objective = build(session, self.reference)
        every = adversarial.evaluate_every
        return objective, Cadence(adversarial.steps, adversarial.minutes, every, every)

    def evaluate(self, step: int) -> Verdict:
        """Measure the generator on the probe and D on held-out pairs; keep the bundle of a healthy, better model."""
        session, stage = self.session, self.stage
        if stage == "backward":
            return self._evaluate_backward(step)
        if self.measured is None or stage != "discriminator":  # while D is pretrained the generator stays as it is
            self.measured = measure(session.generator, session.probe, session.precision, self.reference)
        probe, sampled = ranks.first(self.measured[0]), self.measured[1]
        metrics = {f"valid_{key}": value for key, value in dataclasses.asdict(probe).items()}
        judge = self._judge()
        if judge is not None:
            metrics |= ranks.first(judge.measure())
            judge.accuracy = metrics["d_accuracy"]
        session.run.show(step, stage, shown(session.probe, sampled, session.tokenizer, session.config.evaluation.shown))
        broken = [] if self.start is None else alarms(probe, self.start, session.probe.human_length)
        # What is pretrained is kept at its best; the adversarial stage moves on, as long as it is healthy.
        loss = metrics["d_loss_held_out"] if stage == "discriminator" else probe.nll
        if not broken and (stage == "adversarial" or loss < self.progress.best):
            self.progress.best = min(self.progress.best, loss)
            session.keep(PRODUCT, step, stage, metrics)
        session.report(stage, None, _figures(step, probe, metrics))
        return Verdict(metrics, broken)

    def _evaluate_backward(self, step: int) -> Verdict:
        session, model = self.session, self.models["backward"]
        assert isinstance(model, AnyGenerator)
        nll = ranks.first(held_out_nll(model, turned_pairs(session), session.precision))
        if nll < self.progress.best:
            self.progress.best = nll
            keep_backward(session, model, step, {"valid_nll": nll})
        session.report(self.stage, None, f"step {step}: perplexity {torch.tensor(nll).exp():.1f} of the turn before")
        return Verdict({"valid_nll": nll})

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write one line of metrics."""
        self.session.run.log(step, self.stage, metrics)

    def save(self) -> None:
        """Write the run state."""
        session = self.session
        if ranks.number():
            return
        state: dict[str, Any] = {
            "stage": self.stage,
            "progress": dataclasses.asdict(self.progress),
            **self._weights(),
            "objective": self.objective.state_dict(),
            "rng": session.rng.get_state(),
            "torch_rng": torch.get_rng_state(),
        }
        if session.device.type == "cuda":  # pragma: no cover - needs a GPU
            state["cuda_rng"] = torch.cuda.get_rng_state(session.device)
        session.run.save_state(state)

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `save` wrote; random states last, because building models draws from them."""
        session = self.session
        for name, model in self.models.items():
            model.load_state_dict(state[name])
        self.objective.load_state_dict(state["objective"])
        session.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        if session.device.type == "cuda":  # pragma: no cover - needs a GPU
            torch.cuda.set_rng_state(state["cuda_rng"], session.device)
        if ranks.count() > 1:
            torch.manual_seed(torch.initial_seed() + ranks.number())  # dropout differs between ranks

    def snapshot(self) -> Any:
        """Return a copy of the models and the objective's state."""
        return copy.deepcopy({**self._weights(), "objective": self.objective.state_dict()})

    def restore(self, snapshot: Any) -> None:
        """Go back to `snapshot`, with a lower learning rate."""
        for name, model in self.models.items():
            model.load_state_dict(snapshot[name])
        self.objective.load_state_dict(copy.deepcopy(snapshot["objective"]))
        self.objective.soften()

    def event(self, text: str) -> None:
        """Tell the user."""
        self.session.report(self.stage, None, text)

    def tick(self, share: float, metrics: dict[str, float]) -> None:
        """Tell the user how far the stage is."""
        self.session.report(self.stage, share, "")

    def _judge(self) -> Discrimination | None:
        if isinstance(self.objective, Discrimination):
            return self.objective
        return None if isinstance(self.objective, MaximumLikelihood) else self.objective.discrimination

    def _weights(self) -> dict[str, Any]:
        return {name: model.state_dict() for name, model in self.models.items()}


def _figures(step: int, probe: Probe, metrics: dict[str, float]) -> str:
    text = (
        f"step {step}: perplexity {torch.tensor(probe.nll).exp():.1f}, distinct-1 {probe.distinct_1:.3f}, "
        f"distinct-2 {probe.distinct_2:.3f}, top reply {probe.top_reply_share:.1%}, length {probe.mean_length:.1f}"
    )
    return text + (f", D accuracy {metrics['d_accuracy']:.2f}" if "d_accuracy" in metrics else "")
