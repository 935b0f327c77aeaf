"""Results of studies over HTTP: right, repeatable, and unmoved by erasing a rater."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.commands import opened
from app.database import Database, now
from app.ratings.tables import Judgement
from app.results import repository, service
from app.settings import Settings
from tests.app.fakes import FakeBot
from tests.app.people import HUMAN, OTHER, Json, Owner
from tests.app.results.voting import judge_all, prefer, running


def results(client: TestClient, **query: object) -> Json:
    response = client.get("/v1/studies/s/results", params=query)
    assert response.status_code == 200, response.text
    return dict(response.json())


def by_name(found: Json) -> dict[str, Json]:
    return {one["name"]: one for one in found["systems"]}


def test_a_study_is_ranked_and_counts_are_right(any_client: TestClient) -> None:
    owner = running(any_client, n=18, k=6)
    votes = sum(prefer(owner.rater(), "human") for _ in range(6))
    found = results(any_client)
    assert votes == 18 * 6
    assert (found["study"], found["kind"], found["measure"]) == ("s", "pair", "log-strength")
    human, other, third = (by_name(found)[name] for name in ("human", "other", "third"))
    assert human["strength"] > max(other["strength"], third["strength"])
    assert human["low"] < human["strength"] < human["high"]
    assert human["rank"] == 1
    assert sum(one["judgements"] for one in found["systems"]) == 2 * votes
    assert sum(one["points"] for one in found["systems"]) == votes
    assert sum(one["wins"] + one["losses"] + one["ties"] for one in found["pairs"]) == votes
    assert found["raters"]["judged"] == 6
    assert found["agreement"]["choice"]["items"] == 18
    assert found["biases"]["side"]["judgements"] == votes
    assert found["biases"]["length"]["judgements"] > 0
    assert found["rules"]["quality"]["min_gold_accuracy"] == 0.7


def test_an_analysis_is_kept_and_made_again_byte_for_byte(any_client: TestClient, rows: Callable) -> None:
    owner = running(any_client)
    for _ in range(4):
        prefer(owner.rater(), "human", often=3)
    first = any_client.get("/v1/studies/s/results")
    assert any_client.get("/v1/studies/s/results").content == first.content  # nothing new: the same analysis
    number = first.json()["analysis"]
    database = any_client.app.state.database  # type: ignore[attr-defined]
    # A judgement that is replaced later, and one that is added, leave what was analysed as it was.
    last = owner.rater()
    task = last.task()
    assert last.judge(task, "tie").status_code == 201
    second = results(any_client)
    assert second["analysis"] > number
    assert last.judge(task, "both_bad").status_code == 201
    prefer(owner.rater(), "third")
    third = results(any_client)
    assert third["last_judgement"] > second["last_judgement"]
    for analysis in (number, second["analysis"], third["analysis"]):
        again, same = service.run_again(database, analysis)
        assert same
        stored = any_client.get("/v1/studies/s/results", params={"analysis": analysis}).content
        assert service.as_json(again) == stored
    assert any_client.get("/v1/studies/s/results", params={"analysis": number}).content == first.content
    assert len(rows(any_client, "analysis_run")) == 3


def test_an_analysis_that_was_tampered_with_is_found(client: TestClient) -> None:
    running(client, k=1, n=4)
    number = results(client)["analysis"]
    database = client.app.state.database  # type: ignore[attr-defined]
    with database.writing() as session:
        session.execute(sa.text('update analysis_run set seed = 8, result = \'{"kind": "pair"}\''))
    assert not service.run_again(database, number)[1]


def test_unbeaten_and_unconnected_systems_are_said_and_not_ranked(client: TestClient) -> None:
    owner = running(client, n=12, k=4)
    for _ in range(4):
        prefer(owner.rater(), "human", often=99)
    found = by_name(results(client))
    assert found["human"]["standing"] == "unbeaten"
    assert found["human"]["rank"] is None
    assert any("human: never lost" in warning for warning in results(client)["warnings"])


def test_raters_who_break_a_stated_rule_are_left_out_and_named(any_client: TestClient, rows: Callable) -> None:
    owner = running(any_client, k=5, quality={"max_one_side_share": 0.8, "min_gold_accuracy": None})
    for _ in range(3):
        prefer(owner.rater(), "human", often=3)
    lazy = owner.rater()
    assert judge_all(lazy, lambda n, shown: {"choice": "left"}) == 12
    found = results(any_client)
    assert [(one["rater"], one["rule"]) for one in found["excluded"]] == [(lazy.public_id, "one_side")]
    assert found["excluded"][0] | {"rater": ""} == {
        "rater": "",
        "rule": "one_side",
        "share": 1.0,
        "limit": 0.8,
        "cases": 12,
    }
    assert found["raters"]["checks"]["one_side"] == {"pass": 3, "fail": 1, "unknown": 0}
    assert sum(one["judgements"] for one in found["systems"]) == 2 * 3 * 12
    [exclusion] = rows(any_client, "exclusion")
    assert (exclusion["rule"], exclusion["analysis_run_id"]) == ("one_side", found["analysis"])
    prefer(owner.rater(), "human")
    results(any_client)
    # Two analyses, and one event for each rater: nothing changed for the first four.
    outcomes = [event["outcome"] for event in rows(any_client, "quality_event") if event["kind"] == "one_side"]
    assert sorted(outcomes) == ["fail", "pass", "pass", "pass", "pass"]
    # Analyses leave out; they never delete.
    assert len(rows(any_client, "judgement")) == 5 * 12


def test_fast_raters_and_failed_gold(client: TestClient) -> None:
    gold = [
        {"turns": [f"gold {i}?"], "replies": ["right answer", "wrong"], "answer": {"choice": "a"}} for i in range(12)
    ]
    owner = running(
        client, k=3, gold_rate=0.5, quality={"min_judgements": 4, "max_fast_share": 0.5}, items={"gold": gold}
    )
    good, wrong, fast = owner.rater(), owner.rater(), owner.rater()
    for rater, is_good, dwell in ((good, True, 3000), (wrong, False, 3000), (fast, True, 10)):

        def choose(n: int, shown: list[str], is_good: bool = is_good) -> dict[str, object]:
            left = (shown[0] == "right answer") == is_good if "wrong" in shown else n % 4 < 2
            return {"choice": "left" if left else "right"}

        judge_all(rater, choose, dwell_ms=dwell)
    found = {one["rater"]: one["rule"] for one in results(client)["excluded"]}
    assert found == {wrong.public_id: "gold", fast.public_id: "dwell"}


def test_a_scale_study(any_client: TestClient) -> None:
    dimensions = [{"name": name, "anchors": {"1": "no", "3": "so so", "5": "yes"}} for name in ("sensible", "fluent")]
    owner = Owner(any_client).running(
        "scale", systems=[HUMAN, OTHER], n=8, k=3, dimensions=dimensions, quality={"max_one_value_share": None}
    )
    for number in range(3):

        def choose(n: int, shown: list[str], number: int = number) -> dict[str, object]:
            good = shown[0].startswith("human")
            return {"scores": {"sensible": 5 if good else 2, "fluent": 4 - (number == 0)}}

        judge_all(owner.rater(), choose)
    found = results(any_client)
    human = by_name(found)["human"]
    assert human["dimensions"]["sensible"]["mean"] == 5
    # Three and four, four: 11/3, whatever items each rater got.
    assert human["dimensions"]["fluent"]["mean"] == pytest.approx(11 / 3, abs=1e-6)
    assert human["strength"] == pytest.approx((5 + 11 / 3) / 2, abs=1e-6)
    assert (human["rank"], by_name(found)["other"]["rank"]) == (1, 2)
    assert found["agreement"]["sensible"]["alpha"] == 1.0
    assert found["agreement"]["fluent"]["alpha"] < 0


def test_human_or_machine(any_client: TestClient) -> None:
    owner = Owner(any_client).running("turing", systems=[HUMAN, OTHER], n=16, k=4)
    for _ in range(4):
        judge_all(
            owner.rater(),
            lambda n, shown: {"choice": "human" if shown[0].startswith("human") or n % 8 < 2 else "machine"},
        )
    found = by_name(results(any_client))
    assert found["human"]["strength"] == 1.0
    assert found["human"]["against_humans"] is None
    other = found["other"]
    assert other["against_humans"]["difference"] == pytest.approx(other["strength"] - 1)
    assert other["against_humans"]["finding"] == "different"
    assert other["against_chance"]["difference"] == pytest.approx(other["strength"] - 0.5)


def test_same_system_pairs_and_withdrawn_items(client: TestClient) -> None:
    fake = {"kind": "model", "model": "fake", "temperature": 1.0}
    owner = Owner(client).running(systems=[fake, OTHER], n=8, k=2, aa_rate=0.3)
    for _ in range(2):
        prefer(owner.rater(), "other", often=3)
    found = results(client)
    aa_items = [one for one in owner.items() if one["purpose"] == "aa"]
    assert (found["aa"]["items"], found["aa"]["judgements"]) == (len(aa_items), 2 * len(aa_items))
    assert not found["aa"]["significant"]
    ordinary = [one for one in owner.items() if one["purpose"] == "normal"]
    assert sum(one["judgements"] for one in found["systems"]) == 2 * 2 * len(ordinary)
    assert client.post(f"/v1/studies/s/items/{ordinary[0]['id']}/withdraw").status_code == 204
    later = results(client)
    assert later["rules"]["without_items"] == [ordinary[0]["id"]]
    assert sum(one["judgements"] for one in later["systems"]) == 2 * 2 * (len(ordinary) - 1)
    assert service.run_again(client.app.state.database, found["analysis"])[1]  # type: ignore[attr-defined]


def test_a_study_without_judgements_has_results_that_say_so(any_client: TestClient) -> None:
    running(any_client, k=1, n=3)
    found = results(any_client)
    assert found["warnings"] == ["there is no judgement that counts yet"]
    assert {one["standing"] for one in found["systems"]} == {"unconnected"}
    assert found["agreement"]["choice"]["reason"] == "no item was judged by two raters"
    assert (found["aa"], found["biases"]) == (None, {"side": None, "length": None})


def test_the_board_joins_studies_and_thumbs(any_client: TestClient) -> None:
    empty = any_client.get("/v1/leaderboard").json()
    assert (empty["systems"], empty["pairs"], empty["studies"]) == ([], [], [])
    running(any_client, k=3, n=9)
    for _ in range(3):
        prefer(Owner(any_client).rater(), "human", often=3)
    other = Owner(any_client, "second").running(systems=[HUMAN, OTHER], n=6, k=2)
    for _ in range(2):
        prefer(other.rater(), "human", often=2)
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    for thumb in (1, 1, -1):
        reply = any_client.post("/v1/chat/completions", json=body).json()["id"]
        assert any_client.post("/v1/ratings", json={"reply_id": reply, "thumb": thumb}).status_code == 201
    found = any_client.get("/v1/leaderboard").json()
    assert found["studies"] == ["s", "second"]
    systems = by_name(found)
    assert sum(one["judgements"] for one in found["systems"]) == 2 * (3 * 9 + 2 * 6)
    assert systems["human"]["strength"] > systems["third"]["strength"]
    fake = systems["fake"]
    assert {name: fake["thumbs"][name] for name in ("up", "down", "share")} == {"up": 2, "down": 1, "share": 0.666667}
    # Wilson for 2 of 3 by hand, z^2 = 3.841459: (0.666667 + 0.640243) / 2.280486 = 0.573084, and to each side
    # 1.959964 / 2.280486 * sqrt(0.074074 + 0.106707) = 0.365424.
    assert (fake["thumbs"]["low"], fake["thumbs"]["high"]) == (0.20766, 0.938508)
    assert (fake["standing"], fake["rank"]) == ("unconnected", None)
    number = found["analysis"]
    assert service.run_again(any_client.app.state.database, number)[1]  # type: ignore[attr-defined]
    assert any_client.get("/v1/leaderboard", params={"analysis": number}).json() == found


def test_erasing_a_rater_leaves_the_results_and_nothing_of_the_person(
    start: Callable[..., TestClient], tmp_path: Path, bot: object
) -> None:
    client = start(bot)
    owner = running(client)
    people = [owner.rater(external_ref=f"jane.doe.{i}@example.com") for i in range(4)]
    for i, rater in enumerate(people):
        prefer(rater, "human", often=3, comment=f"I live in Schildbuergerhausen {i}")
    before, board = client.get("/v1/studies/s/results").json(), client.get("/v1/leaderboard").json()
    secrets = [f"{what}{i}" for i in range(4) for what in ("jane.doe.", "Schildbuergerhausen ")]
    held = b"".join(path.read_bytes() for path in tmp_path.glob("rejoinder.db*"))
    assert all(secret.encode() in held for secret in secrets)  # so that looking for them later means something
    for rater in people:
        assert client.delete(f"/v1/raters/{rater.public_id}").status_code == 200
    ignored = ("analysis", "created")
    for path, kept in (("/v1/studies/s/results", before), ("/v1/leaderboard", board)):
        database = client.app.state.database  # type: ignore[attr-defined]
        again, same = service.run_again(database, kept["analysis"])
        assert same
        assert again == kept
        found = client.get(path).json()
        assert {k: v for k, v in found.items() if k not in ignored} == {
            k: v for k, v in kept.items() if k not in ignored
        }
    held = b"".join(path.read_bytes() for path in tmp_path.glob("rejoinder.db*"))
    assert [secret for secret in secrets if secret.encode() in held] == []
    tokens = [rater.token for rater in people]
    assert [token for token in tokens if token.encode() in held] == []
    for kind in ("judgements", "battles", "preference", "thumbs"):
        sent = client.get(f"/v1/exports/{kind}").content
        assert [secret for secret in secrets if secret.encode() in sent] == []
        assert [rater for rater in people if rater.public_id.encode() in sent] == []


def test_who_contradicts_themselves_on_swapped_repeats_is_left_out(client: TestClient) -> None:
    # Over the real queue, which swaps the sides of a repeat: always left is always the other reply.
    owner = running(client, k=1, n=6, repeat_rate=0.5, quality={"min_judgements": 2, "max_one_side_share": None})
    rater = owner.rater()
    assert len(rater.finish("left")) == 12
    found = results(client)
    assert [(one["rater"], one["rule"], one["share"]) for one in found["excluded"]] == [
        (rater.public_id, "repeats", 0.0)
    ]


def test_a_locked_database_is_a_clear_error_and_nothing_is_stored(client: TestClient, rows: Callable) -> None:
    running(client, k=1, n=3)
    engine = client.app.state.database.engine  # type: ignore[attr-defined]

    @sa.event.listens_for(engine, "connect")
    @sa.event.listens_for(engine, "checkout")
    def impatient(connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    with engine.execution_options(writes=True).begin():
        for path in ("/v1/studies/s/results", "/v1/leaderboard"):
            response = client.get(path)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "database_unavailable"
        assert client.get("/v1/exports/battles").status_code == 200  # which only reads
    assert rows(client, "analysis_run") == []
    assert results(client)["study"] == "s"


def test_a_crowd_may_watch_the_board_while_others_rate(any_client: TestClient) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    replies = [any_client.post("/v1/chat/completions", json=body).json()["id"] for _ in range(12)]
    statuses: list[int] = []

    def rate(reply: str) -> None:
        statuses.append(any_client.post("/v1/ratings", json={"reply_id": reply, "thumb": 1}).status_code - 1)

    def watch() -> None:
        statuses.extend(any_client.get("/v1/leaderboard").status_code for _ in range(3))

    threads = [threading.Thread(target=rate, args=(reply,)) for reply in replies]
    threads += [threading.Thread(target=watch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 30
    assert by_name(any_client.get("/v1/leaderboard").json())["fake"]["thumbs"]["up"] == 12


def test_an_analysis_waits_for_judgements_that_are_being_stored(
    start: Callable[..., TestClient], postgres: str
) -> None:
    # PostgreSQL numbers a judgement before it is committed: a later number can be there first.
    url = sa.make_url(postgres).set(database="migrated").render_as_string(hide_password=False)
    client = start(FakeBot(), database_url=url)
    database: Database = client.app.state.database  # type: ignore[attr-defined]
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    replies = [client.post("/v1/chat/completions", json=body).json()["id"] for _ in range(2)]
    marks: list[int] = []

    def mark() -> None:
        with database.reading() as session:
            marks.append(repository.last_judgement(session, None))

    def thumb(reply: str) -> Judgement:
        return Judgement(response_id=reply, kind="thumb", value=1, created_at=now())

    analysis = threading.Thread(target=mark)
    with database.writing() as slow:
        slow.add(first := thumb(replies[0]))
        slow.flush()
        with database.writing() as quick:
            quick.add(second := thumb(replies[1]))
            quick.flush()
        assert second.id > first.id
        analysis.start()
        analysis.join(0.5)
        assert marks == []
    analysis.join(20)
    assert marks == [second.id]


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/v1/studies/none/results", 404, "study"),
        ("/v1/studies/%00/results", 400, "slug"),
        (f"/v1/studies/{'x' * 65}/results", 400, "slug"),
        ("/v1/studies/s/results?analysis=0", 400, "analysis"),
        ("/v1/studies/s/results?analysis=x", 400, "analysis"),
        (f"/v1/studies/s/results?analysis={2**63}", 400, "analysis"),
        ("/v1/studies/s/results?analysis=999", 404, "analysis"),
        ("/v1/leaderboard?analysis=-1", 400, "analysis"),
        ("/v1/leaderboard?analysis=1.5", 400, "analysis"),
        ("/v1/leaderboard?analysis=999", 404, "analysis"),
    ],
)
def test_bad_requests_are_refused_by_name(standing_client: TestClient, path: str, status: int, param: str) -> None:
    if standing_client.get("/v1/studies/s").status_code == 404:
        running(standing_client, k=1, n=3)
    response = standing_client.get(path)
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param


def test_the_analysis_of_one_study_is_not_anothers(client: TestClient) -> None:
    running(client, k=1, n=3)
    Owner(client, "second").running(systems=[HUMAN, OTHER], n=3, k=1)
    number = results(client)["analysis"]
    assert client.get("/v1/studies/second/results", params={"analysis": number}).status_code == 404
    assert client.get("/v1/leaderboard", params={"analysis": number}).status_code == 404


def test_raters_go_on_while_an_analysis_is_computed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = running(client, k=2, n=4)
    rater = owner.rater()
    prefer(rater, "human", often=2)
    judged: list[int] = []
    really = service._analyse

    def while_computing(*given: object, **more: object):
        judged.append(prefer(owner.rater(), "other"))
        return really(*given, **more)

    monkeypatch.setattr(service, "_analyse", while_computing)
    first = results(client)
    assert judged == [4]
    monkeypatch.undo()
    assert results(client)["last_judgement"] == first["last_judgement"] + 4


def test_the_command_line_shows_and_repeats(tmp_path: Path, client: TestClient) -> None:
    from app.results.commands import results as command
    from chatbot.errors import RejoinderError

    owner = running(client, k=3)
    for _ in range(3):
        prefer(owner.rater(), "human", often=3)
    where = {"state": tmp_path}
    table = command("s", json=False, again=None, **where)
    assert "human" in table
    assert "36 judgements" not in table.splitlines()[0]
    assert "3 raters, 0 excluded" in table
    found = json.loads(command("s", json=True, again=None, **where))
    assert found == results(client)
    assert "the same in every byte" in command("s", json=False, again=found["analysis"], **where)
    assert "all studies" in command(None, json=False, again=None, **where)
    with opened(Settings(state=tmp_path)) as database, database.writing() as session:
        session.execute(sa.text("update analysis_run set seed = 9"))
    with pytest.raises(RejoinderError, match="gives other numbers"):
        command("s", json=False, again=found["analysis"], **where)
    with pytest.raises(RejoinderError, match="no study 'none'"):
        command("none", json=False, again=None, **where)
