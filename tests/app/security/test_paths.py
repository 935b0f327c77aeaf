"""Nothing that a client writes becomes a path."""

from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from app.files.storage import Storage
from tests.app.owners import key_headers
from tests.app.security.test_owners import upload

SECRET = "nobody is to read this"
CLIMBS = ["../secret", "../../secret", "....//secret", "/etc/passwd", "..\\secret", "%2e%2e/secret", "~/secret"]


@pytest.fixture
def secret(guarded: TestClient) -> Path:
    """Give a file beside the service's own."""
    folder: Path = guarded.app.state.settings.state  # type: ignore[attr-defined]
    path = folder / "secret"
    path.write_text(SECRET, encoding="utf-8")
    return path


@pytest.mark.parametrize("climb", CLIMBS)
@pytest.mark.parametrize("prefix", ["/v1/files/", "/v1/models/", "/models/", "/v1/exports/", "/static/", "/studies/"])
def test_climbing_by_an_address(guarded: TestClient, secret: Path, prefix: str, climb: str) -> None:
    headers = key_headers(guarded, "admin")
    for name in {quote(climb, safe=""), quote(quote(climb, safe=""), safe=""), climb.replace("/", "%2f")}:
        for suffix in ("", "/content"):
            response = guarded.get(f"{prefix}{name}{suffix}", headers=headers)
            assert response.status_code in (400, 401, 404), (name, response.text)
            assert SECRET not in response.text
            assert "root:" not in response.text
    assert secret.exists()


def test_a_link_among_the_pages_files_is_not_followed_out(guarded: TestClient, secret: Path) -> None:
    """Starlette resolves links and then looks whether it is still where it should be."""
    for path in (f"/static/{quote('../../../' * 8 + str(secret)[1:], safe='')}", f"/static//{secret}"):
        assert guarded.get(path).status_code == 404


@pytest.mark.parametrize(
    "name", [*CLIMBS, "..", "C:\\x", "a\nb", "a\rb: c", "x" * 1000, "", "\x7f\x85\u2028", "nul", "文件"]
)
def test_the_name_of_an_upload_is_only_told_again(guarded: TestClient, name: str) -> None:
    headers = key_headers(guarded, "chat")
    state: Path = guarded.app.state.settings.state  # type: ignore[attr-defined]
    before = {path for path in state.rglob("*") if "rejoinder" not in path.name}
    file = upload(guarded, headers, name or "x")
    new = {path for path in state.rglob("*") if "rejoinder" not in path.name} - before
    assert {path.relative_to(state).as_posix() for path in new} - {"files"} == {f"files/{file['id']}"}
    assert file["filename"].isprintable()
    assert "\n" not in file["filename"]
    assert len(file["filename"]) <= 255
    content = guarded.get(f"/v1/files/{file['id']}/content", headers=headers)
    assert "content-disposition" not in content.headers  # no header repeats it


def test_storage_knows_no_other_names(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "files")
    for name in ("../x", "/etc/passwd", "file-" + "0" * 31, "file-" + "0" * 32 + "/..", f"file-{'0' * 32}\n", ""):
        with pytest.raises(ValueError, match="no id of a file"):
            storage.path(name)
    assert not list(tmp_path.iterdir())
