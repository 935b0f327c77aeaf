"""The program that times likelihood on a language model: three systems, the same work."""

from pathlib import Path

from benchmarks.passages import measure
from tests.chatbot.pretrained import save_language_model


def test_three_systems_learn_as_many_tokens(tmp_path: Path) -> None:
    model = save_language_model(tmp_path / "lm", template=None)
    rows = {row["system"]: row for row in measure(str(model), 8, 2, "fp32")}
    assert list(rows) == ["rejoinder", "pairs", "transformers"]
    for row in rows.values():
        assert (row["setting"], row["work"], row["repeats"]) == ("everyday", "mle_step", 2)
        assert row["seconds"] > 0
        assert row["tokens_per_s"] > 0
