"""The guides do what they say: their commands run, their examples work, their links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from chatbot.bundle import read_config
from tests.docs.guide import GUIDES, ROOT, copy_sources, follow, lines_of_code

EXAMPLES = ("adding-an-objective", "adding-a-generator", "adding-a-rating-kind")
PAGES = sorted([*GUIDES.parent.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


@pytest.mark.timeout(900)
def test_from_data_to_a_rated_model(tmp_path: Path) -> None:
    said = follow("from-data-to-rated-model", tmp_path)
    assert "data/support: pairs train" in said
    assert (tmp_path / "report" / "report.html").is_file()
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert answer["choices"][0]["message"]["content"]
    assert "adversarial-or-not" in said
    preferences = (tmp_path / "preferences.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(preferences) > 5
    assert {"chosen", "rejected"} <= json.loads(preferences[0]).keys()
    assert "feedback" in read_config(tmp_path / "runs" / "liked" / "bundle")["info"]


@pytest.mark.timeout(900)
def test_adding_an_objective(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    follow("adding-an-objective", tmp_path, sources=tmp_path)
    lines = (tmp_path / "runs" / "raft" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    adversarial = [row for row in rows if row["stage"] == "adversarial" and "reward" in row]
    assert len(adversarial) > 1
    assert all(0 < row["reward"] < 1 and row["g_loss"] > 0 for row in adversarial)


@pytest.mark.timeout(900)
def test_adding_a_generator(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    follow("adding-a-generator", tmp_path, sources=tmp_path)
    config = read_config(tmp_path / "runs" / "plain" / "bundle")
    assert config["generator"]["architecture"] == config["discriminator"]["architecture"] == "plain"
    [answer] = (tmp_path / "replies.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(answer)["replies"][0]["text"]
    assert (tmp_path / "plain-onnx" / "step.onnx").is_file()


@pytest.mark.timeout(900)
def test_adding_a_rating_kind(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    follow("adding-a-rating-kind", tmp_path, sources=tmp_path)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert all(set(system["dimensions"]) == {"polite", "on_brand"} for system in results["systems"])
    rating = json.loads((tmp_path / "rating.json").read_text(encoding="utf-8"))
    assert (rating["dimension"], rating["value"]) == ("polite", 4)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    assert 5 < lines_of_code(name) < 60


def test_every_page_is_in_the_index() -> None:
    index = (GUIDES.parent / "README.md").read_text(encoding="utf-8")
    linked = {(GUIDES.parent / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", index)}
    pages = {page.resolve() for page in GUIDES.parent.rglob("*.md")} - {(GUIDES.parent / "README.md").resolve()}
    by_their_own_index = {page for page in pages if page.parent.name == "decisions" and page.name != "README.md"}
    assert pages - by_their_own_index <= linked
