"""Runs of a pretrained generator by the same recipes: adapters learn, a run resumes, what cannot be says why."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chatbot.bundle import load_bundle
from chatbot.decoding import Sampled
from chatbot.errors import LanguageModelError
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.prompt import plain_layout
from chatbot.pretrained_discriminator import HeadConfig, PretrainedDiscriminator
from chatbot.tokenizer import TURN
from tests.chatbot.pretrained import SMALL, Make, language_model, save_language_model
from tests.training.conftest import write_dialogues
from tests.training.toys import CPU, DATA, REPLY_TOKENS, ToldJudge, batch_of, draw, seqgan, split_of
from training import rewards
from training.batches import Batches
from training.card import model_card
from training.composition import compose, from_tree, to_tree
from training.config import DiscriminatorConfig, MLEConfig
from training.corpus.dataset import PreparedDataset
from training.corpus.options import PrepareOptions
from training.corpus.packing import SplitWriter
from training.corpus.preparation import prepare
from training.errors import ConfigError, RunError
from training.judges import representation
from training.losses import reply_mask, token_log_probabilities
from training.objectives.cseqgan import Rewarded
from training.objectives.discrimination import Discrimination
from training.objectives.mle import MaximumLikelihood
from training.train import begin, resume

SHORT = (
    "mle.steps=6", "mle.evaluate_every=3", "discriminator.steps=4", "adversarial.steps=4",
    "adversarial.evaluate_every=2", "adversarial.kl=0.02", "evaluation.pairs=16", "evaluation.probe=8",
    "save_every=2", "data.reply_tokens=8", "generator.lora.rank=4",
)  # fmt: skip
ASK = [([3], [7])]
BANDIT = [[4, TURN], [5, TURN]]
MAKES: tuple[Make, ...] = ("llama", "bart")


def _silent(stage: str, share: float | None, line: str) -> None:
    pass


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("lm"))


def prepare_for(lm: Path, folder: Path) -> Path:
    """Prepare some dialogues in `folder` with the tokenizer of `lm`."""
    options = PrepareOptions(out=folder / "data", tokenizer=str(lm), valid=0.1, test=0.05, limit=120)
    prepare([str(write_dialogues(folder / "dialogues.jsonl"))], options)
    return folder / "data"


@pytest.fixture(scope="module")
def data(lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_for(lm, tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="module")
def run(lm: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of cseqgan."""
    out = tmp_path_factory.mktemp("runs") / "cseqgan"
    begin(compose("cseqgan", "toy", [*SHORT, f"generator=pretrained,path={lm}"]), "cseqgan", data, out, _silent)
    return out


def learner(make: Make, adapters: Adapters | None = SMALL) -> PretrainedGenerator:
    """Return a generator of the toy worlds' nine ids."""
    made = language_model(make, tokens=6, layout=plain_layout((0,), 1))
    return PretrainedGenerator(made, adapters, DATA.context_tokens, REPLY_TOKENS)


# The gradient points where the reward says, whichever way the generator is tuned.


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("adapters", [Adapters(4, 8), None])
@pytest.mark.parametrize("liked", [0, 1])
def test_a_rewarded_sampled_reply_becomes_likelier_and_a_punished_one_rarer(
    make: Make, adapters: Adapters | None, liked: int
) -> None:
    model = learner(make, adapters)
    model.trunk._never[:] = False  # the toy world's six words are all there is
    objective = seqgan(
        model,
        ToldJudge(lambda _c, r: torch.zeros(r.shape)),
        ASK * 8,
        samples=2,
        learning_rate=1e-3 if adapters else 1e-5,  # all weights at once go far with every step
        reference=model.twin(),
    )
    batch = batch_of(ASK)

    def likelihoods() -> list[float]:
        model.eval()
        with torch.no_grad():
            return [
                float(token_log_probabilities(model, model.encode(batch.context), torch.tensor([reply])).sum())
                for reply in BANDIT
            ]

    before = likelihoods()
    worth = torch.tensor([-1.0, -1.0])
    worth[liked] = 1.0
    tokens = torch.tensor(BANDIT)
    mask = reply_mask(tokens)
    drawn = Sampled(tokens, mask.sum(1), torch.tensor([True, True]))
    objective.update(batch, Rewarded(drawn, worth[:, None] * mask, mask, 0.0), 0.0)
    after = likelihoods()
    assert after[liked] > before[liked]
    assert after[1 - liked] < before[1 - liked]


@pytest.mark.parametrize("make", MAKES)
def test_monte_carlo_rewards_are_those_of_the_endings(make: Make) -> None:
    """A judge that only minds the first token says of every ending what it says of the reply."""
    model = learner(make).eval()

    def opinion(_context: Tensor, reply: Tensor) -> Tensor:
        return torch.where(reply[:, :1] == 5, 2.0, -2.0).expand(reply.shape)

    batch = batch_of(ASK * 4)
    sampled = draw(model, batch.context, seed=4)
    judge = ToldJudge(opinion)
    judged = judge.encode(batch.context)
    with torch.no_grad():
        values = rewards.monte_carlo_reward(
            model,
            judge,
            model.encode(batch.context),
            judged,
            sampled,
            2,
            torch.Generator().manual_seed(1),  # type: ignore[arg-type]
        )
    expected = torch.sigmoid(opinion(batch.context, sampled.tokens)) * reply_mask(sampled.tokens)
    torch.testing.assert_close(values, expected)


def test_a_discriminator_around_a_language_model_learns_to_tell_replies_to_other_contexts() -> None:
    words = range(4, 9)
    pairs = [([word], [word]) for word in words] * 8
    model = learner("llama")
    torch.manual_seed(0)
    judge = PretrainedDiscriminator(model.language_model, HeadConfig(32, 0.0), DATA.context_tokens, REPLY_TOKENS)
    split = split_of(pairs)
    config = DiscriminatorConfig(batch=16, learning_rate=1e-2)
    learning = Discrimination(
        judge,
        model,
        Batches(split, 16, DATA, 1, CPU),
        batch_of(pairs),
        config,
        "fp32",
        torch.Generator().manual_seed(0),
    )
    for _ in range(40):
        learning.step()
    found = learning.measure()
    assert found["d_accuracy"] > 0.8
    assert found["d_mismatched_taken_for_human"] < 0.3


def test_likelihood_is_learnt_by_adapters_alone() -> None:
    model = learner("llama")
    pairs = [([3], [5, 7])] * 8
    learning = MaximumLikelihood(
        model, Batches(split_of(pairs), 8, DATA, 1, CPU), MLEConfig(learning_rate=3e-2, warmup=0), "fp32"
    )
    first = learning.step(0.0)["nll"]
    for i in range(40):
        last = learning.step(i / 40)["nll"]
    assert last < first / 3


# Whole runs.


def test_a_run_leaves_bundles_that_load_and_differ_by_what_was_learnt(run: Path, lm: Path) -> None:
    after, before = load_bundle(run / "bundle"), load_bundle(run / "mle")
    assert isinstance(after.generator, PretrainedGenerator)
    assert isinstance(after.discriminator, PretrainedDiscriminator)
    assert (run / "bundle" / "language_model.safetensors").samefile(run / "language_model.safetensors")
    learnt = [load_file(run / name / "generator.safetensors") for name in ("mle", "bundle")]
    assert any(not torch.equal(learnt[0][key], learnt[1][key]) for key in learnt[0])
    assert all("lora_" in key for key in learnt[0])
    fresh = load_file(lm / "model.safetensors")
    kept = load_file(run / "language_model.safetensors")
    assert all(torch.equal(value, fresh[key]) for key, value in kept.items())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["stage"] for row in rows} == {"mle", "discriminator", "adversarial"}
    assert all(value is not None for row in rows for value in row.values())
    assert rows[-1]["kl"] > 0  # the reference stayed where it was
    assert "of which low-rank adapters of rank 4 learnt" in after.card
    assert before.limits == after.limits


def test_an_interrupted_run_goes_on_without_the_directory_that_it_came_from(
    run: Path, lm: Path, data: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(lm, tmp_path / "lm"))

    def stop_in_the_adversarial_stage(stage: str, share: float | None, line: str) -> None:
        if stage == "adversarial" and share is not None and share > 0.5:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    config = compose("cseqgan", "toy", [*SHORT, f"generator=pretrained,path={own}"])
    with pytest.raises(KeyboardInterrupt):
        begin(config, "cseqgan", data, out, stop_in_the_adversarial_stage)
    shutil.rmtree(own)
    resume(out, _silent)
    for name in ("generator", "discriminator"):
        resumed, whole = (load_file(place / "bundle" / f"{name}.safetensors") for place in (out, run))
        for key, value in whole.items():
            torch.testing.assert_close(resumed[key], value, msg=key)
    (out / "language_model.safetensors").unlink()
    with pytest.raises(RunError, match="cannot be resumed without the language model"):
        resume(out, _silent)


@pytest.mark.parametrize(
    "settings",
    [
        ("generator.tuning=full", "mle.learning_rate=1e-3"),
        ("generator.checkpointing=true", "adversarial.credit=mc", "adversarial.rollouts=2"),
        ("generator.bf16=true", "adversarial.credit=regs", "adversarial.baseline=critic"),
        ("discriminator.pretrained=false", "generator.turns=plain"),
    ],
)
def test_other_ways_of_tuning_and_rewarding_run(
    settings: tuple[str, ...], lm: Path, data: Path, tmp_path: Path
) -> None:
    few = ("mle.steps=2", "discriminator.steps=2", "adversarial.steps=2")
    config = compose("cseqgan", "toy", [*SHORT, *few, f"generator=pretrained,path={lm}", *settings])
    begin(config, "cseqgan", data, tmp_path / "run", _silent)
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert isinstance(bundle.generator, PretrainedGenerator)
    assert (bundle.generator.adapters is None) == ("generator.tuning=full" in settings)


JUDGED = (
    "mle.steps=4", "discriminator.steps=2", "judged.backward=0.5", "judged.turns=3",
    "adversarial.steps=2", "adversarial.contexts=4", "adversarial.samples=2",
)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "settings"),
    [("llama", ()), ("bart", ()), ("llama", ("generator.tuning=full", "mle.learning_rate=1e-3"))],
)
def test_a_fixed_judge_teaches_a_pretrained_generator(
    make: Make, settings: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    source = save_language_model(tmp_path / "lm", make)
    config = compose("judged", "toy", [*SHORT, *JUDGED, f"generator=pretrained,path={source}", *settings])
    begin(config, "judged", data, tmp_path / "run", _silent)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["stage"] for row in rows} == {"mle", "backward", "discriminator", "adversarial"}
    for part in ("ease", "flow", "coherence", "discriminator"):
        assert math.isfinite(rows[-1][f"reward_{part}"])
    assert rows[-1]["reward_ease"] > 0
    assert rows[-1]["reward_coherence"] < 0
    backward, before, after = (load_bundle(tmp_path / "run" / name).generator for name in ("backward", "mle", "bundle"))
    assert isinstance(backward, PretrainedGenerator)
    learnt = [list(model.state_dict().values()) for model in (before, after, backward)]
    assert any(not torch.equal(a, b) for a, b in zip(*learnt[:2], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(learnt[0], learnt[2], strict=True))
    if not settings:
        names = ("backward", "bundle")
        files = [tmp_path / "run" / name / "language_model.safetensors" for name in names]
        assert files[0].samefile(files[1])


def test_an_interrupted_run_with_a_judge_goes_on_in_any_stage(lm: Path, data: Path, tmp_path: Path) -> None:
    config = compose("judged", "toy", [*SHORT, *JUDGED, f"generator=pretrained,path={lm}", "save_every=1"])
    begin(config, "judged", data, tmp_path / "whole", _silent)
    for stopped in ("backward", "adversarial"):

        def stop(stage: str, share: float | None, line: str, stopped: str = stopped) -> None:
            if stage == stopped and share is not None and share >= 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            begin(config, "judged", data, tmp_path / stopped, stop)
        resume(tmp_path / stopped, _silent)
        whole, again = (load_file(tmp_path / name / "bundle/generator.safetensors") for name in ("whole", stopped))
        for key, value in whole.items():
            torch.testing.assert_close(again[key], value, msg=f"{stopped}: {key}")


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_a_turn_is_represented_by_what_is_said_in_it_alone(make: Make) -> None:
    model = learner(make).eval()
    turns = torch.tensor([[3, 4, TURN, 0, 0], [5, 6, 7, TURN, 0], [3, 4, TURN, 8, 8]])
    found = representation(model, turns)
    by_itself = [representation(model, turns[i : i + 1, :length]) for i, length in enumerate((3, 4, 3))]
    torch.testing.assert_close(found, torch.cat(by_itself))
    torch.testing.assert_close(found[0], found[2])  # what stands behind a turn's end is no part of it
    assert (found[0] - found[1]).abs().max() > 1e-2
    assert representation(model, torch.tensor([[TURN]])).isfinite().all()


def test_a_run_starts_from_a_pretrained_bundle(run: Path, data: Path, tmp_path: Path) -> None:
    told = []
    config = compose("cseqgan", "toy", [*SHORT, f"start={run / 'mle'}", "adversarial.steps=2", "discriminator.steps=2"])
    begin(config, "cseqgan", data, tmp_path / "run", lambda *said: told.append(said[2]))
    again = load_bundle(tmp_path / "run" / "bundle").generator
    assert isinstance(again, PretrainedGenerator)
    assert again.adapters == Adapters(4, 16)
    assert any("goes on with the weights of the one in" in line for line in told)
    copied = compose("cseqgan", "toy", [f"start={run / 'mle'}", "discriminator.from_generator=true"])
    with pytest.raises(ConfigError, match=r"pretrained generator: expected discriminator\.from_generator=false"):
        begin(copied, "cseqgan", data, tmp_path / "other", _silent)
    assert not (tmp_path / "other").exists()


def test_data_of_another_tokenizer_are_refused_before_anything_is_written(
    lm: Path, corpus: Path, tmp_path: Path
) -> None:
    config = compose("mle", "toy", [f"generator=pretrained,path={lm}"])
    with pytest.raises(ConfigError, match=f"prepared with another tokenizer .* --tokenizer {lm}"):
        begin(config, "mle", corpus, tmp_path / "run", _silent)
    with pytest.raises(LanguageModelError, match="no language model"):
        begin(compose("mle", "toy", [f"generator=pretrained,path={corpus}"]), "mle", corpus, tmp_path / "run", _silent)
    assert not (tmp_path / "run").exists()


# Settings and data.


def test_both_spellings_of_the_setting_are_one() -> None:
    long = compose(
        "cseqgan", "toy", ["generator.architecture=pretrained", "generator.path=a/b", "generator.lora.rank=4"]
    )
    assert compose("cseqgan", "toy", ["generator=pretrained,path=a/b,lora.rank=4"]) == long
    assert from_tree(json.loads(json.dumps(to_tree(long)))) == long
    assert compose("mle", None, ["generator=recurrent"]).generator.architecture == "recurrent"


@pytest.mark.parametrize(
    ("recipe", "settings", "said"),
    [
        ("cseqgan", ["generator=pretrained"], r"generator\.path: expected a directory"),
        ("gumbel", ["generator=pretrained,path=x,checkpointing=true"], "checkpointing: expected false with the system"),
        ("judged", ["generator=pretrained,path=x", "judged.backward=0"], r"judged\.backward: expected above 0"),
        ("mle", ["generator=pretrained,path=x,lora.rank=0"], r"generator\.lora\.rank: expected at least 1"),
        ("mle", ["generator=pretrained,path=x,tuning=full,bf16=true"], r"generator\.bf16: expected false"),
        ("mle", ["generator=pretrained,path=x", "discriminator.from_generator=true"], "from_generator: expected false"),
        ("mle", ["generator=pretrained,weights=x"], r"unknown key 'generator\.weights'"),
        ("mle", ["generator=gpt"], "expected one of recurrent, transformer, pretrained"),
    ],
)
def test_a_setting_that_cannot_be_says_why(recipe: str, settings: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose(recipe, "toy", settings)


def test_a_dataset_says_nothing_of_where_its_tokenizer_came_from(data: Path, lm: Path) -> None:
    text = (data / "dataset.json").read_text(encoding="utf-8")
    assert str(lm) not in text
    assert json.loads(text)["vocabulary"] == {"asked": 303, "used": 303, "learnt_from_dialogues": 0}


def test_a_vocabulary_beyond_16_bits_is_packed_in_32(data: Path, tmp_path: Path) -> None:
    large = Path(shutil.copytree(data, tmp_path / "data"))
    before = PreparedDataset.open(large).split("train")
    shutil.rmtree(large / "train")
    (large / "train").mkdir()
    with SplitWriter(large / "train", 6, vocabulary_size=150_000) as writer:
        writer.add([[3, 70_000], [149_999]], [1])
    split = PreparedDataset(large, {}).split("train")
    assert split.tokens.dtype.itemsize == 4
    assert split.context_batch([0], 8).tolist() == [[3, 70_000, TURN]]
    assert split.reply_batch([0], 8).tolist() == [[149_999, TURN]]
    assert before.tokens.dtype.itemsize == 2


def test_the_card_names_the_language_model() -> None:
    config = compose("mle", "toy", ["generator=pretrained,path=some/model,tuning=full"])
    info = {"recipe": "mle", "stage": "mle", "step": 1, "metrics": {}}
    card = model_card(config, {}, {}, info)
    assert "Pretrained language model `some/model`, of which all its weights learnt" in card
    assert "width" in model_card(dataclasses.replace(compose("mle", "toy", [])), {}, {}, info)
