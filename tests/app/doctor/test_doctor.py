"""What the doctor finds, and that it changes nothing."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.database import open_engine
from app.doctor.commands import doctor
from app.doctor.installation import look_at_devices, look_at_packages, look_at_python
from app.migration import migrate_database
from app.settings import Settings
from chatbot.machine import Machine
from tests.app.conftest import Serving
from tests.app.fakes import FakeBot, app_of

GOLDEN = Path(__file__).parents[2] / "golden"

Examine = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Give a function that returns the findings by name, for a service that has one good model."""
    (tmp_path / "models").mkdir()
    shutil.copytree(GOLDEN / "recurrent", tmp_path / "models" / "good")
    monkeypatch.setenv("REJOINDER_SECRETS_DIR", str(tmp_path / "secrets"))

    def examine(**given: Any) -> dict[str, dict[str, Any]]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # fp32: nothing is measured, which takes seconds.
        where = {"models": tmp_path / "models", "state": tmp_path / "state", "port": port, "precision": "fp32"}
        given = {**where, **given}
        said, well = doctor(as_json=True, **given)
        report = json.loads(said)
        assert report["ok"] == well == all(one["status"] != "fail" for one in report["findings"])
        assert all((one["advice"] is None) == (one["status"] == "ok") for one in report["findings"])
        found: dict[str, dict[str, Any]] = {}
        for one in report["findings"]:  # of two by one name, the worse
            if found.get(one["name"], {"status": "ok"})["status"] == "ok":
                found[one["name"]] = one
        return found

    return examine


def test_all_is_well_and_nothing_is_made(examine: Examine, tmp_path: Path) -> None:
    found = examine()
    assert {one["status"] for name, one in found.items() if name != "devices"} == {"ok"}
    assert {"python", "packages for the core", "torch", "devices", "settings", "state", "database", "port"} <= set(
        found
    )
    assert "fp32 on" in found["model good"]["found"]
    assert "will be made" in found["database"]["found"]
    assert not (tmp_path / "state").exists()


def test_each_bundle_is_loaded_strictly(examine: Examine, tmp_path: Path) -> None:
    broken = tmp_path / "models" / "broken"
    shutil.copytree(GOLDEN / "transformer", broken)
    weights = broken / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    found = examine()
    assert found["model good"]["status"] == "ok"
    assert found["model broken"]["status"] == "fail"
    assert "sha256 differs" in found["model broken"]["found"]
    assert examine(models=tmp_path / "none")["models"]["status"] == "fail"
    (tmp_path / "empty").mkdir()
    assert examine(models=tmp_path / "empty")["models"]["status"] == "warn"


def test_the_database_and_its_schema(examine: Examine, database_url: str) -> None:
    assert examine(database_url="sqlite://no")["database"]["status"] == "fail"
    migrate_database(database_url)
    assert "schema" in examine(database_url=database_url)["database"]["found"]
    engine = open_engine(database_url)
    for revision, status in (("0002", "warn"), ("9999", "fail")):
        with engine.execution_options(writes=True).begin() as connection:
            head = connection.exec_driver_sql("select version_num from alembic_version").scalar_one()
            connection.exec_driver_sql(f"update alembic_version set version_num = '{revision}'")
        assert examine(database_url=database_url)["database"]["status"] == status
        with engine.execution_options(writes=True).begin() as connection:
            connection.exec_driver_sql(f"update alembic_version set version_num = '{head}'")
    engine.dispose()


def test_a_server_that_is_away_is_named_without_its_password(examine: Examine) -> None:
    found = examine(database_url="postgresql://someone:swordfish@127.0.0.1:9/none")
    assert found["database"]["status"] == "fail"
    assert "swordfish" not in json.dumps(found)


def test_settings_with_their_source_and_no_secret(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "rejoinder_database_password").write_text("swordfish\n")
    monkeypatch.setenv("REJOINDER_BATCH_SIZE", "7")
    monkeypatch.setenv("REJOINDER_PRECISON", "fp32")
    found = examine()
    assert found["settings"]["status"] == "warn"
    assert "REJOINDER_PRECISON" in found["settings"]["found"]
    monkeypatch.delenv("REJOINDER_PRECISON")
    said = examine()["settings"]["found"]
    assert "batch_size = 7 (environment, REJOINDER_BATCH_SIZE)" in said
    assert "(command line)" in said
    assert f"database_password = (secret) ({tmp_path / 'secrets' / 'rejoinder_database_password'})" in said
    assert "swordfish" not in said
    monkeypatch.setenv("REJOINDER_BATCH_SIZE", "many")
    assert examine()["settings"]["status"] == "fail"


def test_the_port_and_who_is_there(examine: Examine, serve: Serving, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert examine(port=taken.getsockname()[1])["port"]["status"] == "fail"
    ready = int(serve(app_of(Settings(state=tmp_path / "a"), FakeBot())).rsplit(":", 1)[1])
    assert "there and ready" in examine(port=ready)["port"]["found"]
    waiting = int(serve(app_of(Settings(state=tmp_path / "b"))).rsplit(":", 1)[1])
    found = examine(port=waiting)["port"]
    assert (found["status"], "no model is loaded" in found["found"]) == ("warn", True)


def test_a_device_that_is_not_there(examine: Examine) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    assert examine(device="cuda", models=Path("none"))["devices"]["status"] == "fail"


def test_packages_below_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    real = metadata.version

    def version(name: str) -> str:
        if name == "uvicorn":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "torch" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {one.name: one for one in look_at_packages()}
    assert found["packages for the core"].status == "fail"
    assert "torch 1.0 (needs <3,>=2.11)" in found["packages for the core"].found
    assert (found["packages for the service"].status, found["packages for the service"].found) == (
        "warn",
        "missing: uvicorn",
    )
    assert found["packages for training"].status == "ok"


def test_a_missing_package_of_the_core_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    real = metadata.version

    def version(name: str) -> str:
        if name == "safetensors":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    [core] = [one for one in look_at_packages() if one.name == "packages for the core"]
    assert (core.status, core.found) == ("fail", "missing: safetensors")
    assert core.advice == "pip install --upgrade rejoinder"


@pytest.mark.parametrize(
    ("gpus", "built_for", "status", "said"),
    [
        (("NVIDIA H100, 80 GiB",), "12.8", "ok", "NVIDIA H100, 80 GiB"),
        ((), "12.8", "warn", "torch is built for CUDA 12.8 and sees no GPU"),
        ((), "cpu", "ok", "cpu"),
    ],
)
def test_what_there_is_to_compute_with(
    monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], built_for: str, status: str, said: str
) -> None:
    monkeypatch.setattr("chatbot.machine.look_at_machine", lambda: Machine("2.11", 8, gpus, built_for))
    found = {one.name: one for one in look_at_devices("auto")}
    assert (found["devices"].status, found["devices"].found) == (status, said)


def test_a_python_that_no_test_ran_with_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look_at_python().status == "ok"
    monkeypatch.setattr("app.doctor.installation.NEWEST_PYTHON", (3, 10))
    found = look_at_python()
    assert (found.status, "tests ran with Python 3.11" in (found.advice or "")) == ("warn", True)
