"""Replies from a Ray cluster: Ray Data spreads the contexts over a pool of actors, each with the model loaded.

The bundle travels through Ray, so nodes need Rejoinder installed and no file of ours. Ray is imported when used.
"""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from chatbot.bot import Bot
from chatbot.errors import RejoinderError
from chatbot.request import Answer, Decoding, Reply, ReplyRequest

_TOGETHER: Final = 256
"""Contexts in one task of an actor: several times its lanes, so that they are rarely idle."""


class Cluster:
    """Answers with many copies of a bot; `bot` is the copy here, which checks requests."""

    def __init__(self, bundle: Path, bot: Bot, actors: int | None = None) -> None:
        """Use `actors` copies; None is one for each GPU, or for each core of the cluster but one.

        Raises RejoinderError when Ray is not installed or no cluster can be reached or begun.
        """
        try:
            import ray
            import ray.data
        except ModuleNotFoundError:
            raise RejoinderError("--engine ray needs Ray: pip install 'rejoinder[ray]'") from None
        self._bot = bot
        self.name = bot.name
        self.digest = bot.digest
        self.precision = bot.precision
        if not ray.is_initialized():
            try:
                ray.init(
                    log_to_driver=False, logging_level="warning"
                )  # RAY_ADDRESS, a cluster on this machine, or anew
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise RejoinderError(f"the Ray cluster cannot be reached ({error})") from None
        there = ray.cluster_resources()
        self._on_gpu = bot.device.startswith("cuda") and there.get("GPU", 0) >= 1
        # Ray Data reads and writes beside the actors: without a core to spare it starves.
        most = int(there["GPU"]) if self._on_gpu else int(there.get("CPU", 1)) - 1
        self._actors = actors or max(1, most)
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and bars are not for our users
        # Ours, so it stays when a node is lost; in a list, so that an actor's restart asks for it anew.
        self._files = [ray.put({path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()})]

    def check(self, request: ReplyRequest) -> None:
        """Raise RequestError when the request cannot be met."""
        self._bot.check(request)

    def answer_each(self, requests: Iterable[ReplyRequest]) -> Iterator[tuple[int, Answer]]:
        """Yield each request's number and its answer, in any order.

        What a node held when it died is done again by another.
        """
        import ray

        rows = [{"index": index, "request": _packed(request)} for index, request in enumerate(requests)]
        if not rows:
            return
        blocks = max(1, len(rows) // _TOGETHER)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        answered = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            _Actor,
            fn_constructor_args=(self._files, self.name, "cuda" if self._on_gpu else "cpu", self.precision),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._actors),
            batch_size=_TOGETHER,
            num_cpus=None if self._on_gpu else 1,
            num_gpus=1 if self._on_gpu else None,
        )
        seen: set[int] = set()
        for row in answered.iter_rows():
            index = int(row["index"])
            if index not in seen:  # a task that was done again may have been done before
                seen.add(index)
                yield index, _unpacked_answer(row["answer"])


class _Actor:
    """One copy of the model, somewhere on the cluster."""

    def __init__(self, files: Any, name: str, device: str, precision: str) -> None:
        import ray

        held = ray.get(files[0])
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / name
            bundle.mkdir()
            for file, content in held.items():
                (bundle / file).write_bytes(content)
            self._bot = Bot.load(bundle, device, precision=precision)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = self._bot.answer([_unpacked(packed) for packed in batch["request"]])
        return {"index": batch["index"], "answer": [_packed_answer(answer) for answer in answers]}


def _packed(request: ReplyRequest) -> str:
    return json.dumps(asdict(request))


def _unpacked(packed: str) -> ReplyRequest:
    value = json.loads(packed)
    return ReplyRequest(**{**value, "decoding": Decoding(**value["decoding"]), "stop": tuple(value["stop"])})


def _packed_answer(answer: Answer) -> str:
    return json.dumps(asdict(answer))


def _unpacked_answer(packed: str) -> Answer:
    value = json.loads(packed)
    return Answer(**{**value, "replies": tuple(Reply(**reply) for reply in value["replies"])})
