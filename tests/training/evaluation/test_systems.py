"""Who takes part: names, training seeds, reranked twins, and what cannot be compared."""

import shutil
from pathlib import Path

import pytest
import torch

from chatbot.bundle import Bundle, Limits, save_bundle
from chatbot.discriminator import Discriminator
from chatbot.errors import BundleError
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import Tokenizer
from training.corpus.dataset import PreparedDataset
from training.errors import ConfigError, RunError
from training.evaluation.systems import SystemSpec, common_limits, gather, parse_system, parse_systems


def make_bundle(
    path: Path, tokenizer: Path, *, seed: int = 0, judged: bool = True, limits: tuple[int, int] = (24, 12)
) -> Path:
    torch.manual_seed(seed)
    read = Tokenizer.load(tokenizer)
    shape = TrunkConfig("recurrent", 16, 1, 1, heads=2, feedforward=16, dropout=0.0)
    sizes = (read.vocabulary_size, *limits)
    judge = Discriminator(shape, *sizes) if judged else None
    save_bundle(Bundle(Seq2SeqGenerator(shape, *sizes), judge, read, Limits(*limits)), path)
    return path


@pytest.fixture(scope="module")
def bundles(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with the runs `mle` (no D) and `gan`, and a second seed of each."""
    folder = tmp_path_factory.mktemp("bundles")
    tokenizer = corpus / "tokenizer.json"
    for name, seed, judged in (("mle", 0, False), ("mle2", 1, False), ("gan", 2, True), ("gan2", 3, True)):
        make_bundle(folder / name / "bundle", tokenizer, seed=seed, judged=judged)
    return folder


def test_a_name_is_given_or_read_off_the_path(bundles: Path) -> None:
    assert parse_system(f"My GAN={bundles}/gan/bundle") == SystemSpec("My GAN", bundles / "gan" / "bundle")
    assert parse_system(f"{bundles}/gan/bundle").name == "gan"
    assert parse_system(f"{bundles}/gan") == SystemSpec("gan", bundles / "gan" / "bundle")
    with_equals = bundles / "a=b"
    shutil.copytree(bundles / "gan" / "bundle", with_equals)
    assert parse_system(str(with_equals)) == SystemSpec("a=b", with_equals)


def test_two_unnamed_bundles_of_one_name_are_no_seeds_by_accident(bundles: Path) -> None:
    other = bundles / "elsewhere" / "gan" / "bundle"
    shutil.copytree(bundles / "gan2" / "bundle", other)
    with pytest.raises(ConfigError, match="two bundles would be called 'gan'"):
        parse_systems([str(bundles / "gan"), str(other)])
    assert [spec.name for spec in parse_systems([f"gan={bundles / 'gan'}", f"gan={other}"])] == ["gan", "gan"]


def test_bundles_with_a_discriminator_get_a_reranked_twin(bundles: Path) -> None:
    specs = parse_systems([f"MLE={bundles}/mle", f"G={bundles}/gan", f"MLE={bundles}/mle2", f"G={bundles}/gan2"])
    systems = gather(specs, best_of=8)
    assert [(s.name, len(s.bundles), s.best_of) for s in systems] == [
        ("MLE", 2, 1), ("G", 2, 1), ("G + best of 8 by D", 2, 8)
    ]  # fmt: skip
    assert [s.name for s in gather(specs, best_of=1)] == ["MLE", "G"]


def test_what_would_mislead_is_refused(bundles: Path) -> None:
    with pytest.raises(RunError, match="the same model"):
        gather(parse_systems([f"G={bundles}/gan", f"G={bundles}/gan/bundle"]), 1)
    with pytest.raises(ConfigError, match="'human': it is added by itself"):
        gather([SystemSpec("human", bundles / "gan" / "bundle")], 1)
    with pytest.raises(ConfigError, match="two systems are called 'G \\+ best of 2 by D'"):
        gather(parse_systems([f"G={bundles}/gan", f"G + best of 2 by D={bundles}/gan2"]), 2)
    with pytest.raises(BundleError, match="nowhere: no such bundle"):
        gather([SystemSpec("x", bundles / "nowhere")], 1)


def test_limits_and_tokenizers_must_fit(bundles: Path, corpus: Path, tmp_path: Path) -> None:
    data = PreparedDataset.open(corpus)
    longer = make_bundle(tmp_path / "longer", corpus / "tokenizer.json", limits=(40, 12))
    specs = [SystemSpec("a", bundles / "gan" / "bundle"), SystemSpec("b", longer)]
    assert common_limits(specs, data) == Limits(40, 12)  # contexts may differ: each reads what it can
    wordy = make_bundle(tmp_path / "wordy", corpus / "tokenizer.json", limits=(24, 16))
    with pytest.raises(RunError, match=r"different lengths.*12.*16 tokens"):
        common_limits([*specs, SystemSpec("c", wordy)], data)
    Tokenizer.train(["another text"], 300).save(tmp_path / "tokenizer.json")
    foreign = make_bundle(tmp_path / "foreign", tmp_path / "tokenizer.json")
    with pytest.raises(RunError, match="another tokenizer"):
        common_limits([SystemSpec("d", foreign)], data)


def test_a_bundle_without_limits_or_tokenizer_is_incomplete(bundles: Path, corpus: Path, tmp_path: Path) -> None:
    data = PreparedDataset.open(corpus)
    broken = Path(shutil.copytree(bundles / "gan" / "bundle", tmp_path / "broken"))
    (broken / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"broken: incomplete bundle \(.*tokenizer\.json"):
        common_limits([SystemSpec("a", broken)], data)
