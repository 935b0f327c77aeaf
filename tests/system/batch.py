"""A batch as its owner handles it with OpenAI's client: made, followed, and checked line by line."""

import json
import time
from typing import Any

from openai import OpenAI

from tests.system.conftest import Service

URL = "/v1/chat/completions"

FIXED = {"REJOINDER_PRECISION": "int8"}
"""By default it is measured which is fastest, and a seed repeats where the precision is the same. Only sums of whole
numbers do not depend on how many lanes are written side by side: in fp32 a draw at an edge may fall to either side."""


def lines_of(count: int) -> list[bytes]:
    """Return that many lines; the third of each hundred is broken."""
    rows = []
    for i in range(count):
        body = {
            "model": "recurrent",
            "messages": [{"role": "user", "content": f"how are you, {i}?"}],
            "temperature": 1.5,
        }
        row = {"custom_id": f"line {i}", "method": "POST", "url": URL, "body": body}
        rows.append(b"{broken" if i % 100 == 2 else json.dumps(row).encode())
    return rows


def begin(client: OpenAI, lines: list[bytes]) -> str:
    """Make a batch of `lines` and return its id."""
    file = client.files.create(file=("requests.jsonl", b"\n".join(lines)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=URL, completion_window="24h", extra_body={"seed": 11}
    ).id


def until_answered(client: OpenAI, batch_id: str, count: int) -> int:
    """Wait until that many lines are answered, and return how many there are."""
    end = time.monotonic() + 120
    while True:
        batch = client.batches.retrieve(batch_id)
        assert batch.request_counts is not None
        answered = batch.request_counts.completed + batch.request_counts.failed
        if answered >= count:
            return answered
        assert time.monotonic() < end, batch
        time.sleep(0.02)


def until_done(client: OpenAI, batch_id: str, seconds: float = 300) -> Any:
    """Wait until a batch is completed, and return it."""
    end = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status != "completed":
        assert batch.status in ("validating", "in_progress", "finalizing"), batch
        assert time.monotonic() < end, batch
        time.sleep(0.1)
    return batch


def check(client: OpenAI, batch_id: str, count: int) -> list[tuple[str, str]]:
    """See that every line is answered once and in order, and return the replies."""
    batch = until_done(client, batch_id)
    output = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    errors = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert [row["custom_id"] for row in output] == [f"line {i}" for i in range(count) if i % 100 != 2]
    assert [row["error"]["line"] for row in errors] == list(range(3, count + 1, 100))
    assert (batch.request_counts.completed, batch.request_counts.failed) == (len(output), len(errors))
    return [(row["custom_id"], row["response"]["body"]["choices"][0]["message"]["content"]) for row in output]


def client_of(service: Service) -> OpenAI:
    """Return a client of a running service."""
    return OpenAI(base_url=f"{service.address}/v1", api_key="none", timeout=60)
