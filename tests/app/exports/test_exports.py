"""Exports: complete, readable by the usual readers, and enough to rebuild the board."""

import csv
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from app.exports import service
from app.exports.commands import export as command
from app.exports.schemas import COLUMNS
from app.statistics.battles import POINTS_OF_A, Battles, number_clusters
from app.statistics.ranking import rank_systems
from chatbot.errors import RejoinderError
from tests.app.people import FAKE, HUMAN, OTHER, Json, Owner
from tests.app.results.voting import judge_all, prefer, running
from training.feedback.reading import read_feedback

KINDS = list(COLUMNS)


def sent(client: TestClient, kind: str, **query: object) -> list[Json]:
    response = client.get(f"/v1/exports/{kind}", params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.fixture
def judged(any_client: TestClient) -> TestClient:
    """Give a service with two studies of pairs, one rater excluded, one item withdrawn, and thumbs."""
    owner = running(any_client, k=6, n=12)
    for i in range(5):
        prefer(owner.rater(external_ref=f"person {i}"), "human", comment=f"because, “{i}”\nof it")
    judge_all(owner.rater(), lambda n, shown: {"choice": "left"})
    withdrawn = owner.items()[4]["id"]
    assert any_client.post(f"/v1/studies/s/items/{withdrawn}/withdraw").status_code == 204
    second = Owner(any_client, "second").running(systems=[HUMAN, OTHER, FAKE], n=9, k=2, aa_rate=0.25)
    for _ in range(2):
        prefer(second.rater(), "other")
    judge_all(second.rater(), lambda n, shown: {"choice": ["tie", "both_bad", "left"][n % 3]})
    body = {"model": "fake", "messages": [{"role": "user", "content": 'hé 🙂, "x"\nnew line'}]}
    for thumb in (1, -1):
        reply = any_client.post("/v1/chat/completions", json=body).json()["id"]
        for value in (-thumb, thumb):
            rated = {"reply_id": reply, "thumb": value, "comment": 'a, "b"\n“c”'}
            assert any_client.post("/v1/ratings", json=rated).status_code == 201
    return any_client


def test_the_board_is_rebuilt_exactly_from_the_battles(judged: TestClient) -> None:
    board = judged.get("/v1/leaderboard").json()
    content = judged.get("/v1/exports/battles", params={"format": "csv"}).content
    frame = pd.read_csv(io.BytesIO(content))
    frame = frame[(frame.purpose == "normal") & ~frame.excluded & ~frame.withdrawn]
    ids = sorted(set(frame.system_id_a) | set(frame.system_id_b))
    battles = Battles(
        n_systems=len(ids),
        a=frame.system_id_a.map(ids.index).to_numpy(),
        b=frame.system_id_b.map(ids.index).to_numpy(),
        points_of_a=frame.winner.map(POINTS_OF_A).to_numpy(),
        rater=number_clusters(frame.rater.to_numpy(dtype=str)),
        context=number_clusters(frame.prompt.to_numpy(dtype=str)),
    )
    rules = board["rules"]
    rng = np.random.default_rng([board["seed"], 0])
    ranked = rank_systems(battles, rng, prior=rules["prior_pseudo_ties"], draws=rules["draws"])
    rebuilt = [(one.standing, *(one.strength, one.low, one.high), one.rank) for one in ranked]
    shown = [one for one in board["systems"] if one["judgements"]]
    expected = [tuple(one[name] for name in ("standing", "strength", "low", "high", "rank")) for one in shown]
    assert [
        tuple(round(value, 6) if isinstance(value, float) else value for value in one) for one in rebuilt
    ] == expected
    assert sum(one.rank is not None for one in ranked) >= 3
    names = dict(zip(frame.system_id_a, frame.model_a, strict=True)) | dict(
        zip(frame.system_id_b, frame.model_b, strict=True)
    )
    assert [names[system] for system in ids] == [one["name"] for one in shown]
    assert len(frame) == sum(one["wins"] + one["losses"] + one["ties"] for one in board["pairs"])
    # Other votes give another board: what is compared above can differ.
    turned = Battles(battles.n_systems, battles.a, battles.b, 1 - battles.points_of_a, battles.rater, battles.context)
    assert rank_systems(turned, np.random.default_rng([board["seed"], 0])) != ranked


def test_judgements_tell_everything_superseded_ones_too(judged: TestClient, rows: Callable) -> None:
    found = sent(judged, "judgements")
    stored = rows(judged, "judgement")
    assert [one["id"] for one in found] == sorted(row["id"] for row in stored)
    assert all(one.keys() == COLUMNS["judgements"].keys() for one in found)
    thumbs = [one for one in found if one["kind"] == "thumb"]
    assert [one["value"] for one in thumbs] == [-1, 1, 1, -1]
    assert [one["superseded_by"] for one in thumbs] == [thumbs[1]["id"], None, thumbs[3]["id"], None]
    assert thumbs[0]["prompt"] == [{"role": "user", "content": 'hé 🙂, "x"\nnew line'}]
    assert (thumbs[0]["system_a"]["name"], thumbs[0]["system_a"]["weights_sha256"]) == ("fake", "f" * 64)
    pairs = {row["id"]: row for row in stored if row["kind"] == "pair"}
    for one in found:
        if one["kind"] == "pair":
            assert (one["choice"], one["side"], one["study"] is None) == (
                *(pairs[one["id"]]["choice"], pairs[one["id"]]["side"]),
                False,
            )
            assert one["reply_a"] != one["reply_b"] or one["purpose"] == "aa"
    assert sum(one["excluded"] for one in found) == 12
    assert sum(one["withdrawn"] for one in found) == 6


def test_preferences_are_decisive_votes_that_count(judged: TestClient) -> None:
    found = sent(judged, "preference")
    # Five raters on 11 items, the excluded one and the withdrawn item left out; the second study's ties left out too.
    first = [one for one in found if one["study"] == "s"]
    assert len(first) == 5 * 11
    assert all(one.keys() == COLUMNS["preference"].keys() for one in found)
    battles = {(one["item"], one["created"], one["reply_a"], one["reply_b"]) for one in sent(judged, "battles")}
    for one in found:
        [chosen], [rejected] = one["chosen"], one["rejected"]
        assert (chosen["role"], rejected["role"]) == ("assistant", "assistant")
        both = {
            (one["item"], one["created"], chosen["content"], rejected["content"]),
            (one["item"], one["created"], rejected["content"], chosen["content"]),
        }
        assert both & battles
    liked = [one["chosen"][0]["content"].startswith("human") for one in first if "human" in json.dumps(one)]
    assert sum(liked) / len(liked) > 0.6
    assert len([one for one in found if one["study"] == "second"]) == sum(
        one["study"] == "second" and one["winner"] in ("a", "b") for one in sent(judged, "battles")
    )


def test_thumbs_are_the_live_ones(judged: TestClient) -> None:
    found = sent(judged, "thumbs")
    assert [one["label"] for one in found] == [True, False]
    assert found[0]["completion"][0]["role"] == "assistant"
    assert found[0]["comment"] == 'a, "b"\n“c”'
    assert found[0]["system"].keys() == {"name", "kind", "weights_sha256", "decoding"}
    assert found[0]["rater"] is None


def test_three_formats_hold_the_same(judged: TestClient) -> None:
    for kind in KINDS:
        _hold_the_same(judged, kind)


def _hold_the_same(judged: TestClient, kind: str) -> None:
    lines = sent(judged, kind)
    table = list(csv.DictReader(io.StringIO(judged.get(f"/v1/exports/{kind}?format=csv").content.decode(), newline="")))
    parquet = pq.read_table(io.BytesIO(judged.get(f"/v1/exports/{kind}?format=parquet").content)).to_pylist()
    assert len(lines) == len(table) == len(parquet) > 0
    for line, cells, row in zip(lines, table, parquet, strict=True):
        for name, content in COLUMNS[kind].items():
            if name == "rater":
                continue  # a new pseudonym in every export
            value = line[name]
            nested = content in ("messages", "texts", "system", "json")
            shown = "" if value is None else str(value).lower() if content == "bool" else str(value)
            assert (json.loads(cells[name]) if nested and cells[name] else cells[name]) == (
                value if nested and value is not None else shown
            )
            if value is not None and content == "system":
                value = {**value, "decoding": json.dumps(value["decoding"], ensure_ascii=False)}
            assert row[name] == (json.dumps(value) if content == "json" and value is not None else value)
    # As `datasets` reads JSON lines: with pyarrow, else with pandas.
    content = judged.get(f"/v1/exports/{kind}").content
    read = pa_json.read_json(io.BytesIO(content))
    assert (read.num_rows, read.column_names) == (len(lines), list(COLUMNS[kind]))
    assert read.column("prompt").to_pylist() == [line["prompt"] for line in lines]
    frame = pd.read_json(io.BytesIO(content), lines=True)
    assert (len(frame), list(frame.columns)) == (len(lines), list(COLUMNS[kind]))


def test_pseudonyms_hold_together_one_export_and_differ_in_the_next(judged: TestClient, rows: Callable) -> None:
    first, second = (sent(judged, "battles") for _ in range(2))
    names = [[one["rater"] for one in found] for found in (first, second)]
    assert set(names[0]).isdisjoint(names[1])
    assert number_clusters(np.array(names[0])).tolist() == number_clusters(np.array(names[1])).tolist()
    assert len(set(names[0])) == 9
    everything = judged.get("/v1/exports/judgements").text
    for rater in rows(judged, "rater"):
        assert str(rater["public_id"]) not in everything
        assert str(rater["external_ref"]) not in everything or rater["external_ref"] is None


def test_one_study_alone(judged: TestClient) -> None:
    assert {one["study"] for one in sent(judged, "battles", study="second")} == {"second"}
    assert {one["study"] for one in sent(judged, "judgements", study="s")} == {"s"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_export_can_be_read(standing_client: TestClient, kind: str) -> None:
    assert sent(standing_client, kind) == []
    header = standing_client.get(f"/v1/exports/{kind}?format=csv").text
    assert header == ",".join(COLUMNS[kind]) + "\n"
    table = pq.read_table(io.BytesIO(standing_client.get(f"/v1/exports/{kind}?format=parquet").content))
    assert (table.num_rows, table.column_names) == (0, list(COLUMNS[kind]))


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("everything", 400, "kind"),
        ("%00", 400, "kind"),
        ("battles?format=xml", 400, "format"),
        ("battles?format=", 400, "format"),
        ("battles?study=none", 404, "study"),
        ("battles?study=%00", 400, "study"),
        (f"battles?study={'x' * 65}", 400, "study"),
        ("thumbs?study=none", 400, "study"),
    ],
)
def test_bad_requests_are_refused_by_name(standing_client: TestClient, path: str, status: int, param: str) -> None:
    response = standing_client.get(f"/v1/exports/{path}")
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param


def test_an_export_is_sent_in_pieces(client: TestClient) -> None:
    owner = running(client, k=60, n=12)
    for _ in range(20):
        prefer(owner.rater(), "human")
    with client.stream("GET", "/v1/exports/battles") as response:
        pieces = [len(piece.splitlines()) for piece in response.iter_raw()]
    assert sum(pieces) == 240
    assert max(pieces) <= 200


def test_an_export_goes_on_in_other_threads_and_ends_when_it_is_dropped(client: TestClient) -> None:
    owner = running(client, k=60, n=12)
    for _ in range(20):
        prefer(owner.rater(), "human")
    database = client.app.state.database  # type: ignore[attr-defined]
    pieces = service.export(database, "battles", "jsonl")
    found: list[int] = []
    for _ in range(2):  # the server runs each step in whichever thread is free
        step = threading.Thread(target=lambda: found.append(len(next(pieces).splitlines())))
        step.start()
        step.join()
    assert found == [200, 40]
    assert database.engine.pool.checkedout() == 1
    pieces.close()  # type: ignore[attr-defined]
    assert database.engine.pool.checkedout() == 0


def test_the_command_line_writes_a_whole_file_or_none(tmp_path: Path, client: TestClient) -> None:
    prefer(running(client, k=1).rater(), "human")
    where = {"state": tmp_path}
    out = tmp_path / "battles.parquet"
    assert "battles written" in command("battles", out, None, "s", **where)
    assert pq.read_table(out).num_rows == 12
    for kind, file, form, study, message in (
        ("nothing", "x.csv", None, None, "cannot be exported; expected judgements"),
        ("battles", "x.txt", None, None, "format 'txt'; expected jsonl, csv, parquet"),
        ("battles", "x.csv", None, "none", "no study 'none'"),
        ("battles", "missing/x.csv", None, None, "cannot be written"),
    ):
        with pytest.raises(RejoinderError, match=message):
            command(kind, tmp_path / file, form, study, **where)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("rejoinder.db")) == [out.name]


def test_training_reads_what_the_service_exports(judged: TestClient, tmp_path: Path) -> None:
    """Preferences and thumbs become D's feedback, row for row: nothing is lost between the two halves of the house."""
    rows = {kind: sent(judged, kind) for kind in ("preference", "thumbs")}
    for kind in rows:
        (tmp_path / f"{kind}.jsonl").write_bytes(judged.get(f"/v1/exports/{kind}").content)
    found = read_feedback([tmp_path / "preference.jsonl", tmp_path / "thumbs.jsonl"])
    assert len(found.preferences) == len(rows["preference"]) > 20
    assert [one.up for one in found.thumbs] == [row["label"] for row in rows["thumbs"]]
    assert len(found.thumbs) == 2
    first, sent_first = found.preferences[0], rows["preference"][0]
    assert (first.chosen, first.rejected) == (
        sent_first["chosen"][0]["content"],
        sent_first["rejected"][0]["content"],
    )
