"""What a user would write instead of this service: the peers of `benchmarks/serving.py`, each a few lines of ours.

    python -m benchmarks.peers fastapi_generate --directory DIR --port 9000

DIR holds `hf`, a BART of the service's model size as `transformers` saves it, and `ct2`, its int8 conversion. Every
peer answers `POST /v1/chat/completions` with {"text": ...} for the last message and `max_tokens`, draws from the exact
nucleus (but `ctranslate2_topk`, whose 50 likeliest tokens are cheaper), and cuts nothing by its end token.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

TOP_P = 0.95
LANES = 64
WAIT_SECONDS = 0.005

Answer = Callable[[Sequence[tuple[str, int]]], list[str]]
"""From texts and their numbers of new tokens to replies."""


def generate(directory: Path) -> Answer:
    """Answer by `transformers`' `generate`, several texts as one padded batch, to the longest reply asked for."""
    import torch

    transformers: Any = import_module("transformers")  # partly typed
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory / "hf")
    model = transformers.BartForConditionalGeneration.from_pretrained(directory / "hf").eval()

    @torch.inference_mode()
    def answer(asked: Sequence[tuple[str, int]]) -> list[str]:
        batch = tokenizer([text for text, _ in asked], return_tensors="pt", padding=True)
        longest = max(tokens for _, tokens in asked)
        ids = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            do_sample=True,
            top_p=TOP_P,
            top_k=0,
            min_new_tokens=longest,
            max_new_tokens=longest,
        )
        cut = [row[1 : 1 + tokens] for row, (_, tokens) in zip(ids.tolist(), asked, strict=True)]
        return list(tokenizer.batch_decode(cut, skip_special_tokens=True))

    return answer


def translate(directory: Path, top_k: int) -> Answer:
    """Answer by CTranslate2 on int8 weights, with a worker on each core; top_k 0 is the exact nucleus."""
    import ctranslate2
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory / "hf")
    workers = os.cpu_count() or 1
    translator = ctranslate2.Translator(
        str(directory / "ct2"), device="cpu", compute_type="int8", inter_threads=workers, intra_threads=1
    )

    def answer(asked: Sequence[tuple[str, int]]) -> list[str]:
        longest = max(tokens for _, tokens in asked)
        found = translator.translate_batch(
            [tokenizer.tokenize(text) for text, _ in asked],
            beam_size=1,
            sampling_topk=top_k,
            sampling_topp=TOP_P,
            min_decoding_length=longest,
            max_decoding_length=longest,
        )
        return [
            tokenizer.convert_tokens_to_string(one.hypotheses[0][:tokens])
            for one, (_, tokens) in zip(found, asked, strict=True)
        ]

    return answer


def one_by_one(answer: Answer) -> Any:
    """Return the plainest service: each request calls the model in the framework's thread pool."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, str]:
        return {"text": answer([(body["messages"][-1]["content"], body["max_tokens"])])[0]}

    return app


def batched(answer: Answer, workers: int) -> Any:
    """Return a service that gathers what comes within milliseconds, for `workers` batches side by side."""
    from fastapi import FastAPI

    waiting: asyncio.Queue[tuple[str, int, asyncio.Future[str]]] = asyncio.Queue()

    async def work() -> None:
        while True:
            batch = [await waiting.get()]
            await asyncio.sleep(WAIT_SECONDS)
            while len(batch) < LANES and not waiting.empty():
                batch.append(waiting.get_nowait())
            replies = await asyncio.to_thread(answer, [(text, tokens) for text, tokens, _ in batch])
            for (_, _, future), reply in zip(batch, replies, strict=True):
                if not future.cancelled():
                    future.set_result(reply)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def complete(body: dict[str, Any]) -> dict[str, str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting.put_nowait((body["messages"][-1]["content"], body["max_tokens"], future))
        return {"text": await future}

    return app


PEERS = (
    "fastapi_generate", "fastapi_generate_batched", "litserve_generate", "ctranslate2_exact", "ctranslate2_topk",
)  # fmt: skip


def main() -> None:
    """Serve one peer until killed."""
    parser = argparse.ArgumentParser(description="Serve a peer of the serving benchmark.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    if options.peer == "litserve_generate":
        from benchmarks.peer_litserve import serve

        serve(options.directory, options.port)
        return
    import uvicorn

    if options.peer == "fastapi_generate":
        app = one_by_one(generate(options.directory))
    elif options.peer == "fastapi_generate_batched":
        app = batched(generate(options.directory), 1)
    else:
        top_k = 50 if options.peer == "ctranslate2_topk" else 0
        app = batched(translate(options.directory, top_k), os.cpu_count() or 1)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
