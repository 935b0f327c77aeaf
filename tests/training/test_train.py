"""Whole runs on a small corpus: they learn, resume bit for bit, collapse with a clear word, refuse what is wrong."""

import dataclasses
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from chatbot.bundle import load_bundle
from chatbot.bundle_config import prefer_decoding
from chatbot.decoding import Decoding, Lanes, write_replies
from chatbot.errors import BundleError, RejoinderError
from chatbot.tokenizer import TURN
from tests.training.conftest import write_dialogues
from tests.training.toys import CPU, same
from training.batches import make_batch
from training.composition import compose
from training.config import Config
from training.corpus.dataset import PreparedDataset
from training.corpus.errors import CorpusError
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.errors import ConfigError, RunError
from training.loop import CollapseError
from training.run import STATE
from training.train import begin, resume

SHORT = ("mle.steps=12", "mle.evaluate_every=5", "save_every=2", "evaluation.pairs=40", "evaluation.probe=16")
TURNS = ("discriminator.steps=5", "adversarial.steps=5", "adversarial.evaluate_every=2", "generator.dropout=0.1")

# Kills itself without warning in the step that it is told to.
CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from training.composition import compose
from training.train import begin, resume

torch.set_num_threads(1)
data, out, last, recipe, *settings = sys.argv[1:]
ticks = 0

def report(stage, share, line):
    global ticks
    ticks += share is not None
    if ticks == int(last):
        os.kill(os.getpid(), signal.SIGKILL)

if (Path(out) / "config.json").is_file():
    resume(Path(out), report)
else:
    begin(compose(recipe, "toy", settings), recipe, Path(data), Path(out), report)
"""


def quiet(stage: str, share: float | None, line: str) -> None:
    """Say nothing."""


def child(data: Path, out: Path, last: int, recipe: str, settings: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, str(data), str(out), str(last), recipe, *settings]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2])


def kill_in_step(step: int, data: Path, out: Path, recipe: str, settings: tuple[str, ...]) -> None:
    """Begin or resume the run at `out` in a process that is killed in its `step`-th step."""
    assert child(data, out, step, recipe, settings).wait() == -signal.SIGKILL


def lines(run: Path) -> list[dict[str, Any]]:
    """Return the run's metrics without the one that depends on time."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in rows]


def assert_same_run(one: Path, two: Path) -> None:
    assert lines(one) == lines(two)
    assert (one / "samples.jsonl").read_bytes() == (two / "samples.jsonl").read_bytes()
    bundles = sorted(path.parent.relative_to(one) for path in one.glob("*/generator.safetensors"))
    assert bundles
    for bundle in bundles:
        for file in sorted(path.name for path in (one / bundle).glob("*.safetensors")):
            mine, yours = load_file(one / bundle / file), load_file(two / bundle / file)
            assert mine.keys() == yours.keys()
            for name, value in mine.items():
                assert torch.equal(value, yours[name]), (bundle, file, name)


def settings_of(recipe: str) -> tuple[str, ...]:
    return SHORT if recipe == "mle" else (*SHORT, *TURNS)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give an uninterrupted run of each recipe."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    runs = {}
    for recipe in ("mle", "cseqgan"):
        runs[recipe] = tmp_path_factory.mktemp("whole") / recipe
        begin(compose(recipe, "toy", settings_of(recipe)), recipe, corpus, runs[recipe], quiet)
    torch.set_num_threads(threads)
    return runs


# What a run leaves.


def test_a_run_leaves_its_config_metrics_samples_and_bundles(whole: dict[str, Path]) -> None:
    run = whole["cseqgan"]
    assert {"config.json", "metrics.jsonl", "samples.jsonl", "tensorboard", "bundle", "mle", STATE} == {
        path.name for path in run.iterdir()
    }
    product, reference = load_bundle(run / "bundle"), load_bundle(run / "mle")
    assert product.discriminator is not None
    assert reference.discriminator is not None
    assert (product.info["stage"], reference.info["stage"]) == ("adversarial", "discriminator")
    assert not torch.equal(product.generator.trunk.embedding.weight, reference.generator.trunk.embedding.weight)
    assert "validation perplexity" in (run / "bundle" / "README.md").read_text(encoding="utf-8")
    assert load_bundle(whole["mle"] / "bundle").discriminator is None
    assert not (whole["mle"] / "mle").exists()


def test_metrics_of_each_stage_name_what_is_watched(whole: dict[str, Path]) -> None:
    rows = lines(whole["cseqgan"])
    assert [stage for stage, _ in itertools.groupby(row["stage"] for row in rows)] == list(
        compose("cseqgan", None, []).stages
    )
    last = {row["stage"]: row for row in rows}
    watched = {"valid_nll", "valid_distinct_1", "valid_distinct_2", "valid_top_reply_share", "valid_mean_length"}
    for row in last.values():
        assert watched <= row.keys()
    judged = {"d_accuracy", "d_human_taken_for_human", "d_machine_taken_for_human", "d_mismatched_taken_for_human"}
    assert judged <= last["discriminator"].keys()
    assert judged | {"reward", "kl", "kl_weight", "g_loss", "d_steps"} <= last["adversarial"].keys()
    assert not judged & last["mle"].keys()


def test_the_gate_of_the_adversarial_stage_begins_with_the_accuracy_that_pretraining_reached(
    corpus: Path, tmp_path: Path
) -> None:
    # A discriminator that has not been measured counts as .5: just under this gate, so it would work.
    gate = ("discriminator.skip_above=0.5", "discriminator.extra_below=0.0")
    able = ("discriminator.steps=40", "discriminator.learning_rate=5e-3", "save_every=40")
    begin(
        compose("cseqgan", "toy", (*settings_of("cseqgan"), *gate, *able)), "cseqgan", corpus, tmp_path / "run", quiet
    )
    rows = lines(tmp_path / "run")
    reached = [row["d_accuracy"] for row in rows if row["stage"] == "discriminator"][-1]
    assert reached > 0.6
    assert next(row["d_steps"] for row in rows if row["stage"] == "adversarial") == 0.0


def test_a_corpus_is_learnt_to_over_95_percent_by_mle(corpus: Path, tmp_path: Path) -> None:
    settings = ["mle.steps=200", "mle.evaluate_every=100", "save_every=100"]
    begin(compose("mle", "toy", settings), "mle", corpus, tmp_path / "run", quiet)
    bundle = load_bundle(tmp_path / "run" / "bundle")
    split = PreparedDataset.open(corpus).split("valid")
    batch = make_batch(split, torch.arange(len(split)).numpy(), compose("mle", "toy", []).data, CPU)
    lanes = Lanes([Decoding(temperature=0)] * len(batch), torch.zeros(len(batch), dtype=torch.long), 16)
    found = write_replies(bundle.generator, bundle.generator.encode(batch.context), lanes)
    assert len(batch) > 20
    assert (batch.reply == TURN).any(1).all()
    assert same(found.tokens, batch.reply) > 0.95


@pytest.mark.parametrize(
    "settings",
    [
        ("adversarial.credit=mc", "adversarial.rollouts=2"),
        ("adversarial.credit=final", "adversarial.baseline=none"),
        ("adversarial.credit=regs", "adversarial.baseline=critic"),
        ("adversarial.baseline=ema", "generator.architecture=transformer"),
        ("adversarial.reward=constant",),
        ("adversarial.reward=noise", "precision=bf16"),
        ('stages=["mle", "adversarial"]',),
    ],
)
def test_every_switch_trains_from_end_to_end(corpus: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    short = (*settings_of("cseqgan"), "mle.steps=6", "discriminator.steps=2", "adversarial.steps=3", *settings)
    begin(compose("cseqgan", "toy", short), "cseqgan", corpus, tmp_path / "run", quiet)
    assert load_bundle(tmp_path / "run" / "bundle").info["stage"] == "adversarial"
    assert lines(tmp_path / "run")[-1]["step"] == 3


# Interrupted and resumed, a run is the same run, bit for bit.


@pytest.mark.parametrize(
    ("recipe", "kills"),
    [
        ("mle", (7,)),  # between two saves
        ("cseqgan", (14, 6)),  # in D's pretraining (2 steps into it); then in the adversarial stage
    ],
)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    corpus: Path, tmp_path: Path, whole: dict[str, Path], recipe: str, kills: tuple[int, ...]
) -> None:
    out = tmp_path / "run"
    for step in kills:
        kill_in_step(step, corpus, out, recipe, settings_of(recipe))
        assert (out / STATE).is_file()
    resume(out, quiet)
    assert_same_run(whole[recipe], out)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("generator.architecture=transformer", "discriminator.shape.architecture=transformer"),
        ("adversarial.credit=mc", "adversarial.rollouts=2", "adversarial.baseline=ema"),
        ("adversarial.credit=regs", "adversarial.baseline=critic"),
    ],
)
def test_a_run_killed_again_and_again_at_any_moment_equals_an_uninterrupted_one(
    corpus: Path, tmp_path: Path, settings: tuple[str, ...], seed: int
) -> None:
    # Enough likelihood: on some processors a run from next to nothing collapses, which is no matter of this test.
    longer = ("mle.steps=60", "discriminator.steps=40", "adversarial.steps=20", "evaluation.probe=64")
    every = (*settings_of("cseqgan"), *longer, *settings)
    begin(compose("cseqgan", "toy", every), "cseqgan", corpus, tmp_path / "whole", quiet)
    choice, out = random.Random(seed), tmp_path / "run"
    for _ in range(8):  # by the clock, so also while files are written and between stages
        process = child(corpus, out, -1, "cseqgan", every)
        begun = time.monotonic()
        while process.poll() is None and not (out / STATE).is_file() and time.monotonic() - begun < 60:
            time.sleep(0.05)
        time.sleep(choice.uniform(1.0, 4.0))
        process.kill()
        if process.wait() == 0:
            break
    resume(out, quiet)
    assert_same_run(tmp_path / "whole", out)


def test_resuming_a_finished_run_changes_nothing(corpus: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole["cseqgan"], out)
    resume(out, quiet)
    assert_same_run(whole["cseqgan"], out)


def test_a_run_killed_before_its_first_save_begins_anew(corpus: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole["mle"], out)
    (out / STATE).unlink()
    resume(out, quiet)
    assert_same_run(whole["mle"], out)


def test_the_same_seed_gives_the_same_run_and_another_another(
    corpus: Path, tmp_path: Path, whole: dict[str, Path]
) -> None:
    begin(compose("mle", "toy", SHORT), "mle", corpus, tmp_path / "same", quiet)
    begin(compose("mle", "toy", (*SHORT, "seed=1")), "mle", corpus, tmp_path / "other", quiet)
    assert_same_run(whole["mle"], tmp_path / "same")
    assert lines(whole["mle"]) != lines(tmp_path / "other")


# Collapse.


def test_a_collapsed_run_says_so_and_keeps_the_last_healthy_bundle(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    wild = (*settings_of("cseqgan"), "adversarial.learning_rate=0.5", "adversarial.steps=50", "adversarial.clip=100")
    with pytest.raises(
        CollapseError, match=r"training collapsed 3 times \(last: .*\); the best model so far is kept in"
    ):
        begin(compose("cseqgan", "toy", wild), "cseqgan", corpus, out, quiet)
    kept = load_bundle(out / "bundle")
    assert kept.info["stage"] == "discriminator"
    reference = load_bundle(out / "mle")
    state = torch.load(out / STATE, weights_only=True)["generator"]
    for name, value in reference.generator.state_dict().items():
        assert torch.equal(kept.generator.state_dict()[name], value), name
        assert torch.equal(state[name], value), name  # the last rollback went back all the way, too
    with pytest.raises(CollapseError, match=r"training collapsed 3 times .* kept in"):
        resume(out, quiet)


def test_each_rollback_is_told_and_halves_the_rate(corpus: Path, tmp_path: Path) -> None:
    told: list[str] = []
    wild = (*settings_of("cseqgan"), "adversarial.learning_rate=0.5", "adversarial.steps=50", "adversarial.clip=100")
    with pytest.raises(CollapseError):
        begin(
            compose("cseqgan", "toy", wild), "cseqgan", corpus, tmp_path / "run",
            lambda stage, share, line: told.append(f"{stage}: {line}"),
        )  # fmt: skip
    backs = [line for line in told if "back to step" in line]
    assert len(backs) == 3
    assert all(line.startswith("adversarial: step") and "limit" in line for line in backs)
    rates = [row["learning_rate"] for row in lines(tmp_path / "run") if row["stage"] == "adversarial"]
    assert rates == [0.5, 0.25, 0.125]
    weights = [row["kl_weight"] for row in lines(tmp_path / "run") if row["stage"] == "adversarial"]
    assert weights == sorted(weights)


def test_a_run_that_never_was_healthy_has_no_model_to_show(corpus: Path, tmp_path: Path) -> None:
    wild = (*SHORT, "mle.learning_rate=1e30", "mle.warmup=0")
    with pytest.raises(CollapseError, match="no model was worth keeping"):
        begin(compose("mle", "toy", wild), "mle", corpus, tmp_path / "run", quiet)
    assert not (tmp_path / "run" / "bundle").exists()


# Starting from a bundle.


def test_an_adversarial_run_may_start_from_a_bundle(corpus: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    out = tmp_path / "run"
    start = Path(shutil.copytree(whole["mle"] / "bundle", tmp_path / "start"))
    prefer_decoding(start, Decoding(top_p=0.5))
    # The bundle's own shape counts, whatever the preset says.
    settings = (*settings_of("cseqgan"), f"start={start}", "generator.width=128", "data.reply_tokens=9")
    begin(compose("cseqgan", "toy", settings), "cseqgan", corpus, out, quiet)
    assert {row["stage"] for row in lines(out)} == {"discriminator", "adversarial"}
    begun, reference = load_bundle(start), load_bundle(out / "mle")
    for name, value in begun.generator.state_dict().items():
        assert torch.equal(value, reference.generator.state_dict()[name]), name
    assert reference.discriminator is not None
    assert load_bundle(out / "bundle").limits == begun.limits
    assert [load_bundle(out / name).decoding for name in ("mle", "bundle")] == [Decoding(top_p=0.5)] * 2
    resume(out, quiet, compose("cseqgan", "toy", settings))  # the same wish again is no change


def test_d_is_kept_at_its_best_on_held_out_pairs(corpus: Path, tmp_path: Path) -> None:
    wild = ("discriminator.steps=8", "discriminator.evaluate_every=1", "discriminator.learning_rate=0.05")
    begin(compose("cseqgan", "toy", (*settings_of("cseqgan"), *wild)), "cseqgan", corpus, tmp_path / "run", quiet)
    rows = [row for row in lines(tmp_path / "run") if row["stage"] == "discriminator"]
    found = [row["d_loss_held_out"] for row in rows]
    kept = load_bundle(tmp_path / "run" / "mle").info["metrics"]
    assert found[-1] > min(found) == kept["d_loss_held_out"]
    assert kept["d_accuracy"] == rows[found.index(min(found))]["d_accuracy"]


def test_d_may_begin_with_the_generators_weights_and_resumes_bit_for_bit(
    corpus: Path, tmp_path: Path, whole: dict[str, Path]
) -> None:
    start, told = whole["mle"] / "bundle", []
    settings = (*settings_of("cseqgan"), f"start={start}", "discriminator.from_generator=true", "generator.width=128",
                "discriminator.shape.dropout=0.2", "discriminator.learning_rate=1e-30")  # fmt: skip
    config = compose("cseqgan", "toy", settings)
    begin(config, "cseqgan", corpus, tmp_path / "whole", lambda stage, share, line: told.append(line))
    assert "the discriminator begins with the generator's weights" in told
    judge, model = load_bundle(tmp_path / "whole" / "mle").discriminator, load_bundle(start).generator
    assert judge is not None
    assert judge.trunk.config == dataclasses.replace(model.trunk.config, dropout=0.2)
    torch.testing.assert_close(judge.trunk.state_dict(), model.trunk.state_dict())
    kill_in_step(8, corpus, tmp_path / "run", "cseqgan", settings)
    resume(tmp_path / "run", quiet, config)  # the shape that G's bundle gave to D is no change of settings
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("width", "said"), [(32, "goes on with the weights of"), (16, "another shape and is not used")]
)
def test_a_start_with_a_discriminator_gives_it_away_where_the_shapes_agree(
    corpus: Path, tmp_path: Path, whole: dict[str, Path], width: int, said: str
) -> None:
    start, told = whole["cseqgan"] / "bundle", []
    settings = (*settings_of("cseqgan"), f"start={start}", 'stages=["adversarial"]', "adversarial.steps=1",
                f"discriminator.shape.width={width}", "adversarial.discriminator_steps=0")  # fmt: skip
    begin(
        compose("cseqgan", "toy", settings), "cseqgan", corpus, tmp_path / "run",
        lambda stage, share, line: told.append(line),
    )  # fmt: skip
    assert any(said in line for line in told)
    begun, after = (load_bundle(path).discriminator for path in (start, tmp_path / "run" / "bundle"))
    assert begun is not None
    assert after is not None
    assert after.trunk.config.width == width
    assert torch.equal(begun.head.bias, after.head.bias) == (width == 32)


def test_mle_may_continue_a_bundle(corpus: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    start = whole["mle"] / "bundle"
    begin(compose("mle", "toy", (*SHORT, f"start={start}")), "mle", corpus, tmp_path / "run", quiet)
    before, after = (
        load_bundle(run / "bundle").info["metrics"]["valid_nll"] for run in (whole["mle"], tmp_path / "run")
    )
    assert after < before


def test_a_run_with_nothing_but_the_adversarial_stage_has_its_start_to_show(
    corpus: Path, tmp_path: Path, whole: dict[str, Path]
) -> None:
    start = whole["mle"] / "bundle"
    wild = (*settings_of("cseqgan"), f"start={start}", 'stages=["adversarial"]', "adversarial.learning_rate=0.5",
            "adversarial.steps=50", "adversarial.clip=100")  # fmt: skip
    with pytest.raises(CollapseError, match="the best model so far is kept"):
        begin(compose("cseqgan", "toy", wild), "cseqgan", corpus, tmp_path / "run", quiet)
    kept = load_bundle(tmp_path / "run" / "bundle")
    assert torch.equal(kept.generator.bias, load_bundle(start).generator.bias)


# Errors.


@pytest.fixture(scope="module")
def other_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a dataset with another tokenizer."""
    folder = tmp_path_factory.mktemp("other")
    source = write_dialogues(folder / "dialogues.jsonl", answer="{sound} {sound} {sound}")
    prepare([str(source)], PrepareOptions(out=folder / "data", vocabulary=300))
    return folder / "data"


def test_a_start_with_another_tokenizer_is_refused(other_corpus: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    config = compose("cseqgan", "toy", [f"start={whole['mle'] / 'bundle'}"])
    with pytest.raises(ConfigError, match="has another tokenizer than"):
        begin(config, "cseqgan", other_corpus, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        (compose("cseqgan", "toy", ['stages=["adversarial"]']), ConfigError, "name the bundle to start from"),
        (compose("cseqgan", "toy", ["start=nowhere"]), BundleError, "nowhere: no such bundle"),
        (compose("mle", "toy", ["device=abacus"]), RejoinderError, "abacus"),
    ],
)
def test_what_cannot_begin_is_a_clear_error_and_leaves_nothing(
    corpus: Path, tmp_path: Path, config: Config, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        begin(config, "cseqgan", corpus, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_data_that_are_not_there_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a prepared dataset"):
        begin(compose("mle", "toy", []), "mle", tmp_path / "nothing", tmp_path / "run", quiet)


def test_a_directory_in_use_is_refused_and_left_as_it_is(corpus: Path, whole: dict[str, Path]) -> None:
    before = (whole["mle"] / "config.json").read_bytes()
    with pytest.raises(RunError, match="continue that run with --resume"):
        begin(compose("mle", "toy", []), "mle", corpus, whole["mle"], quiet)
    assert (whole["mle"] / "config.json").read_bytes() == before


def test_a_missing_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to resume"):
        resume(tmp_path / "nothing", quiet)


def test_changed_settings_are_refused_on_resuming(whole: dict[str, Path]) -> None:
    with pytest.raises(RunError, match=r"begun with mle.batch=32, now 16 is asked for"):
        resume(whole["mle"], quiet, compose("mle", "toy", [*SHORT, "mle.batch=16"]))


def test_changed_data_are_refused_on_resuming(corpus: Path, other_corpus: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    begin(compose("mle", "toy", [*SHORT, "mle.steps=2"]), "mle", data, tmp_path / "run", quiet)
    shutil.rmtree(data)
    shutil.copytree(other_corpus, data)
    with pytest.raises(RunError, match="is not the data that this run was begun with"):
        resume(tmp_path / "run", quiet)


def test_a_changed_start_is_refused_on_resuming(corpus: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    start = tmp_path / "start"
    shutil.copytree(whole["mle"] / "bundle", start)
    settings = [*SHORT, "mle.steps=2", f"start={start}"]
    begin(compose("mle", "toy", settings), "mle", corpus, tmp_path / "run", quiet)
    shutil.rmtree(start)
    shutil.copytree(whole["cseqgan"] / "mle", start)
    with pytest.raises(RunError, match="is not the bundle that this run was begun with"):
        resume(tmp_path / "run", quiet)


def test_training_needs_nothing_of_the_service() -> None:
    program = """
import sys
for name in ("pydantic", "fastapi", "starlette", "sqlalchemy", "alembic", "uvicorn"):
    sys.modules[name] = None
import training.train, training.commands, training.evaluation.probe
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
