"""`gan`, `wgan` and `gumbel` of pretrained generators: D's gradient reaches the adapters through distributions."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chatbot.bundle import load_bundle
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.pretrained_discriminator import HeadConfig, PretrainedDiscriminator
from chatbot.tokenizer import START
from tests.chatbot.pretrained import Make, save_language_model
from tests.training.objectives.test_relaxed import SYSTEMS, put_together
from tests.training.test_pretrained_runs import ASK, MAKES, SHORT, _silent, learner, prepare_for
from tests.training.toys import DATA, REPLY_TOKENS, VectorJudge, batch_of
from training.composition import compose
from training.relaxation import one_hot, verdict
from training.train import begin, resume

RELAXED_SHORT = (*SHORT, "mle.steps=2", "adversarial.steps=3", "adversarial.contexts=4", "save_every=1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relaxed")
    return prepare_for(save_language_model(folder / "lm"), folder)


@torch.no_grad()
def chance(model: PretrainedGenerator, word: int) -> float:
    """Return the probability that a reply begins with `word`."""
    model.eval()
    logits, _ = model.step(model.encode(batch_of(ASK).context), torch.tensor([START]))
    return float(torch.softmax(logits[0], -1)[word])


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("liked", [4, 7])
@pytest.mark.parametrize("system", SYSTEMS)
def test_one_step_makes_likelier_what_the_discriminator_likes(system: str, liked: int, make: Make) -> None:
    def opinion(soft: Tensor) -> Tensor:
        return (4 * soft[:, :1, liked] - 2).expand(soft.shape[:2])

    model = learner(make)
    model.trunk._never[:] = False  # the toy world's six words are all there is
    before = chance(model, liked)
    settings = {"pairs": ASK * 16, "contexts": 16, "learning_rate": 1e-3, "discriminator_steps": 0}
    put_together(system, model, VectorJudge(opinion), **settings).step(0.0)  # type: ignore[arg-type]
    assert chance(model, liked) > before


@pytest.mark.parametrize("make", MAKES)
def test_a_language_model_judges_one_hot_replies_as_tokens_and_lets_their_gradient_through(make: Make) -> None:
    model = learner(make)
    torch.manual_seed(0)
    judge = PretrainedDiscriminator(model.language_model, HeadConfig(16, 0.5), DATA.context_tokens, REPLY_TOKENS).eval()
    batch = batch_of([([3, 4], [5, 6]), ([6], [7])])
    with torch.no_grad():
        whole = judge(judge.encode(batch.context), batch.reply)
    soft = one_hot(batch.reply, model.vocabulary_size).requires_grad_()
    softly = judge.judge_soft(judge.encode(batch.context), soft)
    real = batch.reply != 0
    torch.testing.assert_close(softly[real], whole[real], rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(verdict(judge, batch.context, soft).sum(), soft)
    assert float(gradient[:, 0].norm(dim=1).min()) > 1e-4
    assert not any(p.requires_grad for p in judge.trunk.parameters())


@pytest.mark.parametrize(
    ("recipe", "make", "settings"),
    [
        ("gan", "llama", ()),
        ("gan", "bart", ("discriminator.pretrained=false",)),
        ("wgan", "llama", ("wgan.penalty=div",)),
        ("wgan", "bart", ()),
        ("gumbel", "llama", ("generator.bf16=true", "precision=bf16")),
        ("gumbel", "llama", ("generator.tuning=full", "mle.learning_rate=1e-4")),
        ("gumbel", "bart", ("gumbel.straight_through=false", "discriminator.pretrained=false")),
    ],
)
def test_a_run_moves_the_generator_and_goes_on_where_it_was_stopped(
    recipe: str,
    make: Make,
    settings: tuple[str, ...],
    data: Path,
    tmp_path: Path,
) -> None:
    source = save_language_model(tmp_path / "lm", make)
    config = compose(recipe, "toy", [*RELAXED_SHORT, f"generator=pretrained,path={source}", *settings])
    begin(config, recipe, data, tmp_path / "whole", _silent)
    rows = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[-1]["stage"] == "adversarial"
    for name in ("gradient_norm_through_d", "gradient_norm", "d_loss", "g_loss", "valid_nll"):
        assert math.isfinite(rows[-1][name])
    assert rows[-1]["gradient_norm_through_d"] > 0
    before, after = (load_bundle(tmp_path / "whole" / name) for name in ("mle", "bundle"))
    assert after.info["stage"] == "adversarial"
    assert isinstance(after.discriminator, PretrainedDiscriminator) is (
        "discriminator.pretrained=false" not in settings
    )
    old, new = before.generator.state_dict(), after.generator.state_dict()
    assert any(not torch.equal(value, new[key]) for key, value in old.items())

    def stop(stage: str, share: float | None, line: str) -> None:
        if stage == "adversarial" and share is not None and share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(config, recipe, data, tmp_path / "stopped", stop)
    resume(tmp_path / "stopped", _silent)
    again = load_bundle(tmp_path / "stopped" / "bundle").generator.state_dict()
    for key, value in new.items():
        torch.testing.assert_close(again[key], value, msg=key)


def test_the_game_teaches_adapters_and_the_head_and_leaves_the_language_model() -> None:
    model = learner("llama", Adapters(4, 8))
    frozen = [p.clone() for p in model.language_model.network.parameters()]
    judge = PretrainedDiscriminator(model.language_model, HeadConfig(16, 0.0), DATA.context_tokens, REPLY_TOKENS)
    objective = put_together("gumbel", model, judge, pairs=ASK * 16, discriminator_steps=1, learning_rate=1e-3)
    for _ in range(3):
        objective.step(0.5)
    assert all(torch.equal(p, old) for p, old in zip(model.language_model.network.parameters(), frozen, strict=True))
    assert all(p.grad is not None for p in (*model.parameters(), *judge.parameters()) if p.requires_grad)
