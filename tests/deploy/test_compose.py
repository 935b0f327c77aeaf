"""docker-compose.yml, without an engine: its schema, and what must hold of its services."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_is_a_compose_file() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_as_little_as_possible(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert service.get("cap_add", []) in ([], ["NET_BIND_SERVICE"])
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_or_says_why_not(name: str) -> None:
    service = SERVICES[name]
    if "healthcheck" not in service:
        assert service["build"]["target"] == "serve"  # the image's own
        assert re.search(r"^HEALTHCHECK .*?CMD", (ROOT / "Dockerfile").read_text(), re.M | re.S)
    elif service["healthcheck"].get("disable"):
        lines = FILE.read_text(encoding="utf-8").splitlines()
        [line] = [line for line in lines if "disable: true" in line]
        assert "# " in line
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_no_secret_is_in_an_environment_or_a_command() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN", variable):
                assert str(value).startswith("/run/secrets/"), f"{name}: {variable}"
            assert not re.search(r"://[^/@]*:[^/@]+@", str(value)), f"{name}: {variable} holds a password"
        assert "password" not in str(service.get("command", "")).lower()
    for name, secret in COMPOSE["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/secrets/" in ignored


def test_the_service_reads_its_secret_as_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = SERVICES["app"]
    [secret] = app["secrets"]
    (tmp_path / secret["target"]).write_text("p@ss/word\n")
    monkeypatch.setenv("REJOINDER_SECRETS_DIR", str(tmp_path))
    for variable, value in app["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.database == "postgresql://rejoinder:p%40ss%2Fword@database/rejoinder"
    assert "p@ss" not in repr(settings)
    known = {f"REJOINDER_{name.upper()}" for name in Settings.model_fields}
    assert set(app["environment"]) <= known


def test_the_order_of_the_start() -> None:
    assert SERVICES["migrate"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert SERVICES["app"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert SERVICES["proxy"]["depends_on"]["app"]["condition"] == "service_healthy"
    assert SERVICES["migrate"]["command"] == ["rejoinder", "migrate"]


def test_copies_can_run_beside_each_other() -> None:
    """Nothing that only one container can have, one state for all, and only the proxy is reached from outside."""
    app = SERVICES["app"]
    assert "container_name" not in app
    assert "ports" not in app
    assert "state:/state" in app["volumes"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy", "prometheus", "grafana"]
    for name in ("proxy", "prometheus", "grafana"):
        assert all(str(port).startswith(("127.0.0.1:", "${BIND:-127.0.0.1}:")) for port in SERVICES[name]["ports"])
    assert SERVICES["database"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_only_the_proxy_is_believed_about_addresses() -> None:
    [config] = COMPOSE["networks"]["edge"]["ipam"]["config"]
    assert SERVICES["app"]["environment"]["REJOINDER_TRUSTED_PROXIES"] == config["subnet"]
    assert [name for name, one in SERVICES.items() if "edge" in one["networks"]] == ["app", "proxy"]


def test_it_drains_before_it_is_killed() -> None:
    from app.server import _FINISH_SECONDS

    grace = int(SERVICES["app"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings().drain_seconds + _FINISH_SECONDS


def test_observing_is_a_choice() -> None:
    assert [name for name, one in SERVICES.items() if one.get("profiles")] == ["prometheus", "grafana"]
    assert {tuple(one["profiles"]) for one in SERVICES.values() if "profiles" in one} == {("observe",)}


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"]


def test_every_writable_place_is_named() -> None:
    """The root is read-only: what the image's own volumes and the service write needs a place."""
    assert SERVICES["app"]["tmpfs"] == ["/tmp"]
    assert os.sep + "data" in "".join(SERVICES["proxy"]["volumes"])
    assert "/var/run/postgresql" in SERVICES["database"]["tmpfs"]
