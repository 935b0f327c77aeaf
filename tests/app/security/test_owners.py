"""A key's files and batches are its own; an administrator sees all; what names a file is never an address or a path."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.owners import key_headers

LINE = {
    "custom_id": "1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "fake", "messages": [{"role": "user", "content": "hello"}], "seed": 1},
}
CONTENT = json.dumps(LINE).encode() + b"\n"


def upload(client: TestClient, headers: dict[str, str], name: str = "x.jsonl") -> dict[str, Any]:
    response = client.post("/v1/files", data={"purpose": "batch"}, files={"file": (name, CONTENT)}, headers=headers)
    assert response.status_code == 200, response.text
    return dict(response.json())


def begin(client: TestClient, headers: dict[str, str], file_id: str) -> Any:
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return client.post("/v1/batches", json=body, headers=headers)


def finished(client: TestClient, headers: dict[str, str], batch_id: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while (batch := client.get(f"/v1/batches/{batch_id}", headers=headers).json())["status"] != "completed":
        assert time.monotonic() < end, batch
        time.sleep(0.02)
    return dict(batch)


def ids(client: TestClient, path: str, headers: dict[str, str]) -> set[str]:
    return {one["id"] for one in client.get(path, headers=headers).json()["data"]}


def test_files_and_batches_are_their_keys(guarded: TestClient) -> None:
    own, stranger, admin = (key_headers(guarded, scope) for scope in ("chat", "chat", "admin"))
    file, other = upload(guarded, own)["id"], upload(guarded, stranger)["id"]
    batch = begin(guarded, own, file).json()["id"]
    output = finished(guarded, own, batch)["output_file_id"]

    assert ids(guarded, "/v1/files", own) == {file, output}
    assert ids(guarded, "/v1/files", stranger) == {other}
    assert ids(guarded, "/v1/files", admin) >= {file, output, other}
    assert ids(guarded, "/v1/batches", own) == {batch}
    assert ids(guarded, "/v1/batches", stranger) == set()
    assert batch in ids(guarded, "/v1/batches", admin)

    for method, path in (
        *(("GET", f"/v1/files/{one}{part}") for one in (file, output) for part in ("", "/content")),
        ("DELETE", f"/v1/files/{file}"),
        ("DELETE", f"/v1/files/{output}"),
        ("GET", f"/v1/files?after={file}"),
        ("GET", f"/v1/batches/{batch}"),
        ("GET", f"/v1/batches?after={batch}"),
        ("POST", f"/v1/batches/{batch}/cancel"),
        ("POST", f"/batches/{batch}/cancel"),
    ):
        response = guarded.request(method, path, headers=stranger)
        assert response.status_code == 404, (method, path, response.text)
    assert begin(guarded, stranger, file).status_code == 404
    assert "there is no file" in begin(guarded, stranger, file).json()["error"]["message"]
    page = guarded.get("/batches", headers=stranger | {"Accept": "text/html"})
    assert batch not in page.text
    assert batch in guarded.get("/batches", headers=own | {"Accept": "text/html"}).text

    assert guarded.get(f"/v1/files/{output}/content", headers=admin).status_code == 200
    assert guarded.delete(f"/v1/files/{file}", headers=own).status_code == 200


def test_one_word_for_two_requests_of_two_keys(guarded: TestClient) -> None:
    headers = [key_headers(guarded, "chat"), key_headers(guarded, "admin")]
    file = upload(guarded, headers[0])["id"]
    batches = {begin(guarded, one | {"Idempotency-Key": "same"}, file).json()["id"] for one in headers}
    again = begin(guarded, headers[0] | {"Idempotency-Key": "same"}, file).json()["id"]
    assert len(batches) == 2
    assert again in batches


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """Give a port and the list of those who knocked there."""
    knocks: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                connection.close()
                knocks.append(str(address))

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], knocks
        over.set()
        thread.join()


def test_no_id_makes_the_service_fetch_anything(guarded: TestClient, listener: tuple[int, list[str]]) -> None:
    port, knocks = listener
    headers = key_headers(guarded, "admin")
    for address in (
        f"http://127.0.0.1:{port}/x",
        f"//127.0.0.1:{port}/x",
        f"http://[::ffff:127.0.0.1]:{port}/",
        f"gopher://127.0.0.1:{port}/",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "file-../../../../etc/passwd",
    ):
        response = begin(guarded, headers, address)
        assert response.status_code == 404, response.text
        assert response.json()["error"]["code"] == "file_not_found"
        body = {"model": address, "messages": [{"role": "user", "content": "hi"}]}
        assert guarded.post("/v1/chat/completions", json=body, headers=headers).status_code == 404
    time.sleep(0.3)
    assert knocks == []
