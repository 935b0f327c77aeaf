"""`/v1/files`: what goes in comes out, and nothing that a client says becomes a path."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of

LINE = b'{"custom_id": "a"}\n'


@pytest.fixture
def official(serve: Callable[[FastAPI], str], tmp_path: Path) -> Iterator[OpenAI]:
    address = serve(app_of(Settings(state=tmp_path, max_file_bytes=100_000), FakeBot()))
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def upload(client: TestClient, content: bytes = LINE, purpose: str = "batch", name: str = "a.jsonl") -> Any:
    return client.post("/v1/files", data={"purpose": purpose}, files={"file": (name, content)})


def refused(response: Any, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_the_official_client_uploads_reads_lists_and_deletes(official: OpenAI, tmp_path: Path) -> None:
    content = "".join(f'{{"custom_id": "{i} 好"}}\n' for i in range(2000)).encode()
    source = tmp_path / "requests.jsonl"
    source.write_bytes(content)
    with source.open("rb") as file:
        stored = official.files.create(file=file, purpose="batch")
    assert stored.object == "file"
    assert stored.bytes == len(content)
    assert stored.filename == "requests.jsonl"
    assert stored.purpose == "batch"
    assert official.files.retrieve(stored.id) == stored
    assert official.files.content(stored.id).read() == content

    others = [official.files.create(file=(f"{i}.jsonl", LINE), purpose="batch") for i in range(5)]
    newest_first = [one.id for one in reversed([stored, *others])]
    assert [one.id for one in official.files.list()] == newest_first
    assert [one.id for one in official.files.list(limit=2)] == newest_first  # the client asks for page after page
    assert [one.id for one in official.files.list(order="asc", limit=4)] == newest_first[::-1]
    assert list(official.files.list(purpose="batch_output")) == []
    page = official.files.list(limit=2)
    assert page.has_more
    assert [one.id for one in page.data] == newest_first[:2]

    assert official.files.delete(stored.id).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        official.files.content(stored.id)
    assert gone.value.code == "file_not_found"
    assert stored.id not in [one.id for one in official.files.list()]
    assert stored.id not in [path.name for path in (tmp_path / "files").iterdir()]


def test_pages_and_ids_on_both_databases(any_client: TestClient) -> None:
    ids = [upload(any_client, name=f"{i}").json()["id"] for i in range(7)]
    seen: list[str] = []
    more = {"limit": "3"}
    while True:
        page = any_client.get("/v1/files", params=more).json()
        seen += [file["id"] for file in page["data"]]
        if not page["has_more"]:
            break
        assert (page["first_id"], page["last_id"]) == (seen[-3], seen[-1])
        more["after"] = page["last_id"]
    assert seen == ids[::-1]
    assert refused(any_client.get("/v1/files", params={"after": "file-0"}), 404)["param"] == "after"


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "..", "a\\b", "", "名字 \U0001f642.jsonl", "x" * 999])
def test_names_are_never_paths(client: TestClient, tmp_path: Path, name: str) -> None:
    response = upload(client, name=name)
    if not name:  # httpx sends a part without a filename: no file at all
        assert response.status_code == 400
        return
    stored = response.json()
    assert response.status_code == 200
    assert [path.name for path in (tmp_path / "files").iterdir()] == [stored["id"]]
    assert client.get(f"/v1/files/{stored['id']}/content").content == LINE
    if name.startswith("名字"):
        assert stored["filename"] == name


def test_ids_are_never_paths(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir(exist_ok=True)
    (tmp_path / "files" / "secret").write_text("secret")
    for name in ("secret", "..%2Frejoinder.db", "%2e%2e", "file-" + "0" * 32, "x" * 300, "%00", "%ff"):
        for path in (f"/v1/files/{name}", f"/v1/files/{name}/content"):
            assert client.get(path).status_code in (400, 404)
        assert client.delete(f"/v1/files/{name}").status_code in (400, 404)
    assert (tmp_path / "files" / "secret").read_text() == "secret"


def test_what_is_refused_leaves_nothing_behind(start: Callable[..., TestClient], bot: FakeBot, tmp_path: Path) -> None:
    client = start(bot, max_file_bytes=1000)
    assert upload(client, b"x" * 1000).status_code == 200
    assert refused(upload(client, b"x" * 1001), 413)["code"] == "file_too_large"
    assert refused(upload(client, b"x" * 1_000_000), 413)["code"] == "file_too_large"
    assert refused(upload(client, purpose="fine-tune"))["param"] == "purpose"
    assert refused(upload(client, b""))["code"] == "empty_file"
    assert refused(client.post("/v1/files", files={"file": ("a", LINE)}))["param"] == "purpose"
    assert refused(client.post("/v1/files", json={"purpose": "batch"}))["code"] == "invalid_body"
    assert (
        refused(client.post("/v1/files", data={"purpose": "batch"}, files={"other": ("a", LINE)}))["param"] == "other"
    )
    both = [("file", ("a", LINE)), ("file", ("b", LINE))]
    assert refused(client.post("/v1/files", data={"purpose": "batch"}, files=both))["param"] == "file"
    extra = client.post("/v1/files", data={"purpose": "batch", "path": "/etc"}, files={"file": ("a", LINE)})
    assert refused(extra)["param"] == "path"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    whole = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n'
    for body in (b"", b"--y", whole[:40], whole[:-8], whole.replace(b"form-data;", b""), b"\x00" * 50):
        assert client.post("/v1/files", content=body, headers=kind).status_code == 400, body
    assert refused(client.post("/v1/files", content=whole, headers=kind))["param"] == "purpose"
    assert len(list((tmp_path / "files").iterdir())) == 1


def test_fields_are_few_short_and_sent_once(start: Callable[..., TestClient], bot: FakeBot, tmp_path: Path) -> None:
    client = start(bot)
    twice = [("purpose", (None, "batch")), ("purpose", (None, "batch")), ("file", ("a", LINE))]
    found = refused(client.post("/v1/files", files=twice))
    assert (found["param"], found["message"]) == ("purpose", "purpose: was sent twice")
    assert "longer than 1024 bytes" in refused(upload(client, purpose="b" * 2000))["message"]
    assert list((tmp_path / "files").glob("*")) == []


def test_a_file_of_several_pieces_comes_back_whole(start: Callable[..., TestClient], bot: FakeBot) -> None:
    client = start(bot, max_file_bytes=4 * 2**20)
    content = b"".join(b"%07d\n" % i for i in range(400_000))  # 3.2 MB; it is written a MiB at a time
    stored = upload(client, content).json()
    assert stored["bytes"] == len(content)
    assert client.get(f"/v1/files/{stored['id']}/content").content == content


def test_other_bodies_keep_their_limit(start: Callable[..., TestClient], bot: FakeBot) -> None:
    client = start(bot, max_body_bytes=1000)
    assert upload(client, b"x" * 50_000).status_code == 200
    assert client.post("/v1/files/x", content=b"x" * 2000).status_code == 413


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "order=up", "limit=10001", "unknown=1", "after=%00"])
def test_bad_queries_are_refused(standing_client: TestClient, query: str) -> None:
    refused(standing_client.get(f"/v1/files?{query}"))
