"""A model that learns another one's replies, by the commands of docs/guides/pretrained.md."""

import json
from pathlib import Path

from tests.system.conftest import Rejoinder

GOLDEN = Path(__file__).parents[1] / "golden" / "recurrent"


def test_a_model_learns_what_another_one_replies(rejoinder: Rejoinder, tmp_path: Path) -> None:
    dialogues = tmp_path / "dialogues.jsonl"
    rows = [{"turns": [f"question {i}?", f"answer {i}", "why?", "because", f"and {i + 1}?"]} for i in range(60)]
    dialogues.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data, contexts, taught = tmp_path / "data", tmp_path / "contexts.jsonl", tmp_path / "taught.jsonl"
    small = ["--vocabulary", "300", "--valid", "0.1", "--test", "0.1"]
    quick = ["--preset", "toy", "--set", "mle.steps=5"]
    for command in (
        ["prepare", dialogues, "--out", data, *small],
        ["contexts", data, "--split", "train", "--each", "1000", "--limit", "1000000", "--out", contexts],
        ["generate", "--model", GOLDEN, "--in", contexts, "--out", taught, "--n", "2", "--temperature", "1.5"],
        ["prepare", taught, "--out", tmp_path / "taught", *small],
        ["train", "mle", "--data", tmp_path / "taught", "--out", tmp_path / "run", *quick],
    ):
        done = rejoinder(*command)
        assert done.returncode == 0, done.stderr
    learnt = json.loads((data / "dataset.json").read_text())["splits"]["train"]["pairs"]
    assert len(contexts.read_text().splitlines()) == learnt
    written = [reply for line in taught.read_text().splitlines() for reply in json.loads(line)["replies"]]
    whole = [reply["text"] for reply in written if reply["finish_reason"] != "length" and reply["text"].strip()]
    document = json.loads((tmp_path / "taught" / "dataset.json").read_text())
    pairs = sum(split["pairs"] for split in document["splits"].values())
    assert len(whole) / 2 < pairs == document["records"] - sum(document["left_out"].values()) - document["duplicates"]
    assert document["origins"] == {"recurrent": pairs}
    assert (tmp_path / "run" / "bundle" / "generator.safetensors").is_file()
