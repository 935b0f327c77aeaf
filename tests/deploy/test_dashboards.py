"""The dashboard, the alerts and the guide ask only for what the service tells."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "rejoinder.json").read_text("utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))

RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = [
    *((panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *((rule["alert"], rule["expr"]) for rule in RULES),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of all series that the service tells, of those without a value yet as well."""
    names = set()
    with TestClient(app_of(Settings(state=tmp_path_factory.mktemp("state")), FakeBot())) as client:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                names |= {f"{name}{end}" for end in ("_bucket", "_count", "_sum")} if kind == "histogram" else {name}
    return names


def ready(query: str) -> str:
    """Return a query with Grafana's variable filled in."""
    return query.replace("$__rate_interval", "1m")


def metrics_of(query: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the metrics that a query reads, with the labels that it names for each."""
    promql = pytest.importorskip("promql_parser")
    seen = [promql.parse(ready(query))]
    while seen:
        node = seen.pop()
        if isinstance(node, promql.VectorSelector):
            yield node.name, [one.name for one in node.matchers.matchers]
        for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
            child = getattr(node, name, None)
            if child is not None:
                seen.append(child)
        seen += list(getattr(node, "args", None) or [])


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_a_query_can_be_read_and_names_what_there_is(where: str, query: str, told: set[str]) -> None:
    names = [name for name, _ in metrics_of(query)]
    assert names, where
    assert [name for name in names if name != "up" and name not in told] == []
    # Whatever the parser missed: no name of ours is left over.
    assert set(re.findall(r"\brejoinder_\w+", query)) <= told


def test_what_matters_is_on_the_dashboard() -> None:
    asked = " ".join(query for _, query in QUERIES)
    for name in (
        "queue_replies",
        "lanes_in_use",
        "first_token_seconds",
        "generated_tokens",
        "http_requests_total",
        "leases",
        "judgements_total",
        "ratings_total",
        "batches",
        "batch_lines",
        "database_connections",
        "engine_restarts_total",
    ):
        assert f"rejoinder_{name}" in asked, name
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    }
    assert len(places) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in panels)  # none over another
    assert max(x for x, _ in places) < 24


def test_the_parts_find_each_other() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/rejoinder.yml").read_text())["providers"]
    assert {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]} == {
        source["uid"]
    }
    assert source["url"] == "http://prometheus:9090"
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    [scrape] = PROMETHEUS["scrape_configs"]
    [found] = scrape["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["app"], 8000)
    assert set(compose["services"]["app"]["networks"]) & set(compose["services"]["prometheus"]["networks"])
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]


def test_each_alert_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guides" / "operations.md").read_text("utf-8")
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in guide] == []
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "look")
        assert rule["annotations"]["summary"].endswith(".")


def test_the_guide_names_metrics_that_there_are(told: set[str]) -> None:
    guide = (ROOT / "docs" / "guides" / "operations.md").read_text("utf-8")
    named = set(re.findall(r"\brejoinder_[a-z_]+\b", guide)) - {"rejoinder_database_password"}
    assert named
    bare = {name.removesuffix(end) for name in told for end in ("_bucket", "_count", "_sum")}
    assert named <= told | bare


def test_promtool_agrees() -> None:
    try:
        done = subprocess.run(
            ["promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("promtool is not on this machine; the queries are read by another parser")
    assert done.returncode == 0, done.stdout + done.stderr
