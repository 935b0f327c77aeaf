"""A study as the README tells it: from a prepared dataset and trained models to judgements over HTTP."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def readme_study() -> str:
    """Return the study file that the README shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.partition("```toml\n")[2].partition("```")[0]


def test_the_study_of_the_readme(
    rejoinder: Callable, serve: Callable, prepared: Path, runs: Path, tmp_path: Path
) -> None:
    contexts, study, state = tmp_path / "contexts.jsonl", tmp_path / "study.toml", tmp_path / "state"
    content = readme_study().replace("automatic_gold = 20", "automatic_gold = 4")  # the data here are small
    study.write_text(content, encoding="utf-8")
    slug = tomllib.loads(content)["slug"]

    def say(*arguments: object) -> str:
        done = rejoinder(*map(str, arguments))
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()

    where = ("--state", state)
    assert "contexts with their human replies" in say("contexts", prepared, "--out", contexts, "--limit", 24)
    rows = [json.loads(line) for line in contexts.read_text(encoding="utf-8").splitlines()]
    said = say("study", "create", study, "--contexts", contexts, "--models", runs / "cseqgan", *where)
    assert said == f"{slug}: drafted with {len(rows) - 4} items, 1 A/A pairs, 4 gold items"
    say("study", "start", slug, *where)
    with (
        serve(runs / "cseqgan", state) as service,
        httpx.Client(base_url=service.address, follow_redirects=True) as client,
    ):
        link = say("study", "invite", slug, "--raters", 3, "--address", service.address, *where)
        joined = client.get(link)
        assert joined.history[0].status_code == 303
        session = joined.json()
        agreed = client.post(f"/v1/studies/{slug}/consent", json={"version": session["consent"]["version"]})
        assert agreed.json()["consented"]
        task = client.get(f"/v1/studies/{slug}/next").json()["task"]
        assert [one["side"] for one in task["replies"]] == ["left", "right"]
        assert [message["content"] for message in task["messages"]] in [row["turns"] for row in rows]
        body = {"lease": task["lease"], "choice": "both_bad"}
        assert client.post(f"/v1/studies/{slug}/judgements", json=body).status_code == 201
        items = client.get(f"/v1/studies/{slug}/items", params={"limit": 1000}).json()["data"]
    ordinary = [one for one in items if one["purpose"] == "normal"]
    systems = {(one[side]["system"], one[side]["decoding"].get("best_of")) for one in ordinary for side in "ab"}
    assert systems == {("human", None), ("mle", None), ("bundle", 8)}
    human = {(row["turns"][-1], row["reply"]) for row in rows}
    for one in ordinary:
        for side in "ab":
            if one[side]["kind"] == "human":
                assert (one["messages"][-1]["content"], one[side]["text"]) in human
    assert f"{slug}: running, not complete" in say("study", "progress", slug, *where)
