"""Which target takes which bundle, and that a directory is there whole or not at all."""

import sys
from pathlib import Path

import pytest

import rejoinder
from chatbot.bundle import CONFIG
from chatbot.errors import BundleError, ExportError
from chatbot.export.exporting import export_bundle
from tests.chatbot.export.examples import GOLDEN


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("hf", "model.safetensors"),
        ("ct2", "model.bin"),
        ("onnx", "step.onnx"),
        ("compact", "generator.safetensors"),
    ],
)
def test_a_directory_is_written_whole(target: str, expected: str, bundle_directory: Path, tmp_path: Path) -> None:
    export_bundle(bundle_directory, target, tmp_path / "deep" / "out")
    assert {expected, "tokenizer.json", "README.md", "config.json"} <= {
        p.name for p in (tmp_path / "deep/out").iterdir()
    }
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("target", ["hf", "ct2"])
def test_a_recurrent_generator_is_told_what_is_possible(target: str, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=f"recurrent generator cannot be expressed as {target}, expected --to compact or onnx$"
    ):
        export_bundle(GOLDEN / "recurrent", target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_named(bundle_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--to is 'gguf', expected compact or hf or ct2 or onnx or adapters"):
        export_bundle(bundle_directory, "gguf", tmp_path / "out")
    with pytest.raises(BundleError, match="no such bundle"):
        export_bundle(tmp_path / "nothing", "hf", tmp_path / "out")
    with pytest.raises(ExportError, match="is there already"):
        export_bundle(bundle_directory, "onnx", bundle_directory)
    assert (bundle_directory / CONFIG).is_file()
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_and_nothing_is_left(
    bundle_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2.specs", None)  # as if it were not installed
    with pytest.raises(ExportError, match=r"--to ct2 needs the package ctranslate2.*pip install 'rejoinder\[export\]'"):
        export_bundle(bundle_directory, "ct2", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_fault_half_way_leaves_nothing(
    bundle_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)  # after both graphs are written
    with pytest.raises(OSError, match="the disk is full"):
        export_bundle(bundle_directory, "onnx", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_command_line_exports_a_bundle_beside_judgements(
    bundle_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(bundle_directory), "--to", "onnx", "--out", str(tmp_path / "out")]
    for more, status in ([], 0), (["--study", "s"], 2), ([], 1):  # the last time it is there already
        with pytest.raises(SystemExit) as ended:
            rejoinder.main([*arguments, *more])
        assert ended.value.code == status
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}: written; see its README.md\n"
    assert "--to writes a bundle" in said.err
    assert "is there already" in said.err
