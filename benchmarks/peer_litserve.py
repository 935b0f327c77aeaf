"""The peer that LitServe batches; a file of its own, because its workers must be able to import the class."""

from pathlib import Path
from typing import Any

import litserve

from benchmarks.peers import LANES, WAIT_SECONDS, Answer, generate


class Generate(litserve.LitAPI):  # type: ignore[misc, unused-ignore]
    """Answer by `transformers`' `generate`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(max_batch_size=LANES, batch_timeout=WAIT_SECONDS, api_path="/v1/chat/completions")
        self._directory = directory
        self._answer: Answer | None = None

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self._answer = generate(self._directory)

    def decode_request(self, request: dict[str, Any]) -> tuple[str, int]:
        """Return what is asked."""
        return request["messages"][-1]["content"], request["max_tokens"]

    def predict(self, x: list[tuple[str, int]]) -> list[str]:
        """Return the replies."""
        assert self._answer is not None
        return self._answer(x)

    def encode_response(self, output: str) -> dict[str, str]:
        """Return the body."""
        return {"text": output}


def serve(directory: Path, port: int) -> None:
    """Serve until killed."""
    server = litserve.LitServer(Generate(directory), accelerator="cpu", track_requests=False)
    server.run(port=port, generate_client_file=False)
