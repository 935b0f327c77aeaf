"""`rejoinder study`, `rater` and `retain`: the same database as the service, one line for every fault."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from rejoinder import app as program
from tests.app.people import Owner, contexts

STUDY = """
slug = "first"
title = "Humans against others"
seed = 3

[protocol]
kind = "pair"
k = 2
gold_rate = 0.2

[protocol.quality]
min_gold_accuracy = 0.8

[items]
automatic_gold = 2
systems = [{ kind = "human" }, { kind = "replies", name = "other" }]
"""


def run(*arguments: object) -> str:
    """Return what the command line says."""
    result = CliRunner().invoke(program, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output.strip()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    rows = [json.dumps({**one, "id": i}, ensure_ascii=False) for i, one in enumerate(contexts(8))]
    (tmp_path / "contexts.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"study": tmp_path / "study.toml", "contexts": tmp_path / "contexts.jsonl"}


def test_a_study_from_file_to_close(any_client: TestClient, database_url: str, files: dict[str, Path]) -> None:
    """Beside a running service, which sees every step."""
    where = ("--database-url", database_url)
    assert run("study", "list", *where) == "no study yet"
    created = run("study", "create", files["study"], "--contexts", files["contexts"], *where)
    assert created == "first: drafted with 6 items, 2 gold items"
    assert any_client.get("/v1/studies/first").json()["protocol"]["quality"]["min_gold_accuracy"] == 0.8
    (files["study"].parent / "more.json").write_text(
        json.dumps({"gold": [{"turns": ["1 + 1?"], "replies": ["2", "banana"], "answer": {"choice": "a"}}]})
    )
    assert (
        run("study", "add-items", "first", files["study"].parent / "more.json", *where) == "first: 1 gold items added"
    )
    assert run("study", "start", "first", *where) == "first: running, 3 gold items, 6 items"
    link = run("study", "invite", "first", "--raters", 5, "--address", "https://rate.example/", *where)
    prefix = "https://rate.example/rate/join/"
    assert link.startswith(prefix)
    owner = Owner(any_client, "first")
    rater = owner.rater(link.removeprefix(prefix), external_ref="P-1")
    judged = len(rater.finish())
    said = run("study", "progress", "first", *where)
    assert "first: running, not complete" in said
    assert "normal   6 items, 0 finished, 6 of 12 judgements" in said
    assert "1 raters, 1 active" in said
    erased = run("rater", "erase", rater.public_id, *where)
    assert erased == f"{rater.public_id}: identity and comments are gone, {judged} judgements stay"
    assert run("study", "close", "first", *where) == "first: closed"
    assert run("study", "list", *where).startswith("first  closed  3 gold items, 6 items")


def fault(*arguments: object) -> str:
    from chatbot.errors import RejoinderError

    with pytest.raises(RejoinderError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("not toml", "not TOML"),
        ('slug = "s"', "title: field required"),
        (STUDY.replace('kind = "pair"', 'kind = "duel"'), "protocol.kind"),
        (
            STUDY.replace("seed = 3", "sed = 3"),
            "sed: extra inputs are not permitted; expected slug, title, seed, protocol",
        ),
        (STUDY.replace("automatic_gold = 2", "automatic_gold = 99"), "automatic_gold: 99 of 8 contexts"),
        (STUDY.replace('kind = "human"', 'kind = "model", model = "none"'), "models: no such directory"),
        (STUDY.replace("[items]", "[[items]]"), "items must be an object, found list"),
    ],
)
def test_a_bad_file_is_one_line_and_leaves_no_study(
    tmp_path: Path, files: dict[str, Path], content: str, expected: str
) -> None:
    files["study"].write_text(content, encoding="utf-8")
    where = ("--state", tmp_path / "state")
    models = ("--models", tmp_path / "models")
    assert expected in fault("study", "create", files["study"], "--contexts", files["contexts"], *models, *where)
    assert run("study", "list", *where) == "no study yet"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("not json", "contexts.jsonl, line 9: not JSON"),
        ('{"turns": "x"}', "contexts.jsonl, line 9: a turn is not a text"),
        ('{"turns": ["x"], "reply": 5}', "contexts.jsonl, line 9: reply: input should be a valid string"),
        ('{"turns": ["x"], "replies": {"other": 5}}', "contexts.jsonl, line 9: replies.other"),
    ],
)
def test_a_bad_context_is_named_by_its_line(tmp_path: Path, files: dict[str, Path], line: str, expected: str) -> None:
    with files["contexts"].open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    said = fault("study", "create", files["study"], "--contexts", files["contexts"], "--state", tmp_path / "state")
    assert expected in said


def test_other_faults_are_one_line_too(tmp_path: Path, files: dict[str, Path]) -> None:
    where = ("--state", tmp_path / "state")
    assert "cannot be read" in fault("study", "create", tmp_path / "none.toml", *where)
    assert "there is no study 'none'" in fault("study", "start", "none", *where)
    assert "there is no study 'none'" in fault("study", "progress", "none", *where)
    assert "no rater has the id 'none'" in fault("rater", "erase", "none", *where)
    assert "begins with 'mysql'" in fault("study", "list", "--database-url", "mysql://x/y")
    (tmp_path / "bare.toml").write_text('slug = "bare"\ntitle = "t"\nprotocol = { kind = "pair" }\n')
    bare = ("study", "create", tmp_path / "bare.toml", *where)
    assert "has no [items]" in fault(*bare, "--contexts", files["contexts"])
    assert run(*bare) == "bare: drafted, without items yet"
    assert "there is a study 'bare' already" in fault(*bare)
    assert "has no items yet" in fault("study", "start", "bare", *where)
    assert "days" in fault("study", "invite", "bare", "--days", "-1", *where)


def test_a_locked_database_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app import database as databases
    from app.database import open_engine

    where = ("--state", tmp_path / "state")
    run("study", "list", *where)
    opened: Callable[..., object] = databases._open_sqlite

    engine = open_engine(f"sqlite:///{tmp_path / 'state' / 'rejoinder.db'}")
    with engine.execution_options(writes=True).begin():
        import sqlalchemy as sa

        def impatient(url: sa.URL, *, foreign_keys: bool) -> sa.Engine:
            made: sa.Engine = opened(url, foreign_keys=foreign_keys)  # type: ignore[assignment]
            sa.event.listen(made, "checkout", lambda connection, *_: connection.execute("PRAGMA busy_timeout = 50"))
            return made

        monkeypatch.setattr(databases, "_open_sqlite", impatient)
        assert "database is locked" in fault("study", "close", "x", *where)
    engine.dispose()
