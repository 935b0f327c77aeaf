"""The service beside a program: it answers once it is made, loads anew, ends; or says why it did not start."""

import socket
from pathlib import Path

import httpx
import pytest

from app.beside import ServiceBeside
from chatbot.errors import RejoinderError
from tests.app.test_engines import GOLDEN


def test_it_serves_while_others_work_and_ends_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REJOINDER_DRAIN_SECONDS", "0")
    models = tmp_path / "models"
    models.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = ServiceBeside(models, "127.0.0.1", port, tmp_path / "state")
    address = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{address}/v1/models").json()["data"] == []
    (models / "late").symlink_to(GOLDEN / "recurrent")
    service.reload()
    assert [model["id"] for model in httpx.get(f"{address}/v1/models").json()["data"]] == ["late"]
    service.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_a_port_in_use_ends_it_at_once(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(RejoinderError, match=r"cannot listen on 127\.0\.0\.1 port"),
    ):
        ServiceBeside(tmp_path, "127.0.0.1", taken.getsockname()[1], tmp_path / "state")


def test_a_service_that_cannot_start_is_said_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RejoinderError, match="the service could not be started beside the training"):
        ServiceBeside(tmp_path / "none", "127.0.0.1", port, tmp_path / "state")
    assert "no such directory" in capfd.readouterr().err, "it has said itself why"
