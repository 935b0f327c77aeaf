"""All readers of ours of files that others wrote, with files that they read well: what fuzzing throws itself at."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from fastapi import Request
from pyarrow import parquet

from app.batches.lines import plan, read_lines, read_request
from app.commands import read_settings
from app.errors import ServiceError
from app.files.upload import read_upload
from app.pages.models.run_files import read_info, read_run
from app.studies.commands import create
from chatbot.bundle import CONFIG, WEIGHTS, bundle_digest, load_bundle
from chatbot.errors import RejoinderError
from chatbot.files import answer_file
from chatbot.journal import Journal
from chatbot.request import Answer, Reply, ReplyRequest
from training.composition import compose
from training.config import Config
from training.corpus.dataset import PreparedDataset
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.corpus.reading import Reading
from training.corpus.rejection import RejectionLog
from training.corpus.sources import SourceFile
from training.evaluation.human import read_results
from training.evaluation.references import read_references
from training.evaluation.training_runs import _series
from training.feedback.reading import read_feedback
from training.run import STATE, Run

GOLDEN = Path(__file__).parents[1] / "golden"

REFUSED = (RejoinderError, ServiceError)
"""What a reader may say of a file: our own errors, which are told to people as one line."""

Use = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """One reader: `use` gives it the content of a file, in an empty folder, and raises what it raises."""

    name: str
    seeds: tuple[bytes, ...]
    use: Use


class Echo:
    """Answers contexts without a model."""

    name, digest, precision = "echo", "0" * 64, "fp32"

    def check(self, request: ReplyRequest) -> None:
        """Take anything."""

    def answer_each(self, requests: Iterable[ReplyRequest]) -> Iterator[tuple[int, Answer]]:
        """Say the last turn again."""
        for index, request in enumerate(requests):
            text = request.turns[-1] if request.turns else ""
            yield index, Answer((Reply(text, "stop", 1, 0.5),), 1, 1)


def targets(workshop: Path) -> list[Target]:
    """Return all targets; what they need beside the file itself is put into `workshop`."""
    return [
        *_bundles(workshop),
        *_corpora(),
        *_contexts(),
        _batch(),
        *_judgements(),
        *_settings(workshop),
        *_runs(workshop),
        *_datasets(workshop),
        _form(),
    ]


def _json(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _bundles(workshop: Path) -> Iterator[Target]:
    for name in ("recurrent", "transformer"):
        for path in sorted((GOLDEN / name).iterdir()):
            if path.name != "README.md":
                yield Target(
                    f"bundle {name}/{path.name}", (path.read_bytes(),), _bundle_with(name, path.name, workshop)
                )


def _bundle_with(name: str, file: str, workshop: Path) -> Use:
    """Return what loads the golden bundle with one file of it replaced, its digest too: else nothing would read it."""
    bundle = workshop / f"{name}-{file}"
    shutil.copytree(GOLDEN / name, bundle)
    config = json.loads((bundle / CONFIG).read_bytes())

    def use(content: bytes, folder: Path) -> None:
        (bundle / file).write_bytes(content)
        if file != CONFIG:
            config["files"][file] = hashlib.sha256(content).hexdigest()
            (bundle / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        read_info(workshop, bundle.name)
        bundle_digest(bundle)
        loaded = load_bundle(bundle)
        loaded.tokenizer.decode(loaded.tokenizer.encode("how are you? 你好"))
        for token in (3, loaded.tokenizer.vocabulary_size - 1):
            loaded.tokenizer.piece(token)

    assert WEIGHTS[0] in config["files"]
    return use


def _corpora() -> Iterator[Target]:
    jsonl = _json(
        {"turns": ["hello", "hi there", "how are you?"], "license": "CC0-1.0", "split": "valid"},
        {
            "messages": [
                {"role": "system", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
            ]
        },
        {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "你好吗"}], "source": "s"},
    )
    csv = b'question,answer,more\r\n"hello, you",hi,"two\nlines"\r\nwho?,me,"a ""quote"""\r\n'
    rows = "dialogue,speaker,text\n1,a,hello\n1,b,hi\n2,a,你好\n2,b,好\n".encode()
    text = "hello\nhi there\n\n你好\n你好吗\n\n\nthird\n".encode()
    gathered = PrepareOptions(Path(), dialogue_column="dialogue", speaker_column="speaker", text_column="text")
    plain = PrepareOptions(Path(), columns=("question", "answer"))
    import gzip

    yield Target("corpus jsonl", (jsonl,), _corpus("jsonl", plain))
    yield Target("corpus csv", (csv,), _corpus("csv", plain))
    yield Target("corpus csv, a turn a row", (rows,), _corpus("csv", gathered))
    yield Target("corpus tsv", (csv.replace(b",", b"\t"),), _corpus("tsv", plain))
    yield Target("corpus text", (text,), _corpus("text", plain))
    yield Target("corpus jsonl.gz", (gzip.compress(jsonl, mtime=0),), _corpus("jsonl", plain, ".jsonl.gz"))


def _corpus(form: str, options: PrepareOptions, suffix: str = ".x") -> Use:
    def use(content: bytes, folder: Path) -> None:
        path = folder / f"source{suffix}"
        path.write_bytes(content)
        with RejectionLog(folder / "rejected.jsonl") as log:
            for line in Reading().run([SourceFile(path, "source", form)], options, log, lambda *_: None):
                line.encode("utf-8")
        (folder / "rejected.jsonl").read_text(encoding="utf-8")

    return use


def _contexts() -> Iterator[Target]:
    rows: list[dict[str, Any]] = [
        {"turns": ["hello", "hi", "how are you?"], "note": 1.5, "more": {"a": [1, None]}},
        {"turns": ["你好"], "note": 2, "more": {"a": []}},
    ]
    jsonl = _json(*rows, {"text": "one"}, {"messages": [{"role": "user", "content": "x"}]})
    csv = b'turns,note\n"[""hello"", ""hi""]",1\n"[""\xe4\xbd\xa0""]","a, b"\n'
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    plain = pa.BufferOutputStream()
    dated = {"text": ["a", "b"], "when": pa.array([1, 2], pa.timestamp("us"))}
    parquet.write_table(pa.table(dated), plain, compression="none", use_dictionary=False)
    seeds = {
        ".jsonl": (jsonl,),
        ".csv": (csv,),
        ".parquet": (sink.getvalue().to_pybytes(), plain.getvalue().to_pybytes()),
    }
    for ending, contents in seeds.items():
        for target in (".jsonl", ".csv", ".parquet"):
            yield Target(f"contexts {ending} to {target}", contents, _answered(ending, target))

    journal = _json({"format": 1, "bundle": "b", "input": "i"}, {"turns": ["a"]}, {"turns": ["b"]})

    def go_on(content: bytes, folder: Path) -> None:
        path = folder / ".replies.jsonl.partial"
        path.write_bytes(content)
        with Journal(path, {"bundle": "b", "input": "i"}) as opened:
            for row in opened.rows():
                json.loads(row)

    yield Target("journal of a file of replies", (journal,), go_on)


def _answered(ending: str, target: str) -> Use:
    def use(content: bytes, folder: Path) -> None:
        source = folder / f"contexts{ending}"
        source.write_bytes(content)
        answer_file(
            GOLDEN / "recurrent",
            lambda precision: Echo(),
            source,
            folder / f"replies{target}",
            ReplyRequest(("",)),
            lambda *_: None,
        )
        assert (folder / f"replies{target}").stat().st_size

    return use


def _batch() -> Target:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 2, "stop": ["x"], "seed": 3}
    rows = _json(
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body},
        {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": {**body, "temperature": 0.5}},
    )

    def use(content: bytes, folder: Path) -> None:
        path = folder / "batch.jsonl"
        path.write_bytes(content)
        found = plan(path, 1000)
        for start, number in found.starts:
            for line in read_lines(path, start, number):
                try:
                    read_request(line, 10_000)
                except ServiceError as error:
                    assert error.status == 400, error  # noqa: PT017 - a line's error is its answer, the others go on

    return Target("batch", (rows,), use)


def _judgements() -> Iterator[Target]:
    prompt = [{"role": "user", "content": "hello"}]
    said = [{"role": "assistant", "content": "hi"}]
    other = [{"role": "assistant", "content": "你好"}]
    feedback = _json(
        {"prompt": prompt, "chosen": said, "rejected": other},
        {"prompt": prompt, "completion": said, "label": True},
    )
    results = json.dumps(
        {
            "study": "s",
            "kind": "pair",
            "measure": "strength",
            "analysis": 1,
            "systems": [
                {
                    "name": "a",
                    "kind": "checkpoint",
                    "digest": "d" * 64,
                    "decoding": {"temperature": 1.0, "top_p": 0.9},
                    "strength": 0.5,
                    "low": 0.1,
                    "high": 0.9,
                    "interval": [0.1, 0.9],
                },
                {"name": "human", "kind": "human", "digest": None, "decoding": {}, "strength": 1.5},
            ],
        },
        indent=1,
    ).encode()
    references = _json({"context": ["a", "b"], "references": ["c", "d"]}, {"context": ["你"], "references": ["好"]})
    yield Target("feedback", (feedback,), _at("feedback.jsonl", lambda path: read_feedback([path])))
    yield Target("results of a study", (results,), _at("results.json", read_results))
    yield Target("references", (references,), _at("references.jsonl", read_references))


def _at(name: str, read: Callable[[Path], object]) -> Use:
    def use(content: bytes, folder: Path) -> None:
        (folder / name).write_bytes(content)
        read(folder / name)

    return use


def _settings(workshop: Path) -> Iterator[Target]:
    study = b"""slug = "s"
title = "A study"
seed = 7
[protocol]
kind = "pair"
k = 3
gold_rate = 0.08
quality = { min_gold_accuracy = 0.6, min_dwell_ms = 500 }
[items]
automatic_gold = 1
systems = [{ kind = "human" }, { kind = "replies", name = "other" }]
contexts = [
  { turns = ["a"], reply = "b", replies = { other = "c" } },
  { turns = ["d"], reply = "e", replies = { other = "f" } },
]
"""
    as_json = b'{"slug": "s", "title": "A study", "protocol": {"kind": "scale", "k": 2}}'
    for ending, seed in ((".toml", study), (".json", as_json)):

        def use(content: bytes, folder: Path, ending: str = ending) -> None:
            (folder / f"study{ending}").write_bytes(content)
            create(folder / f"study{ending}", None, models=None, device=None, state=folder)

        yield Target(f"study {ending}", (seed,), use)

    settings = (b"mle.steps=1000", b'generator.architecture="recurrent"', b"adversarial.reward=constant", b"seed=1")
    yield Target("--set", settings, lambda content, folder: _composed(content))

    variables = b"port=8000\nmax_body_bytes=1024\nqueue_seconds=1.5\nengines=2\nstate=state\nhost=::1\nprecision=int8"

    def read(content: bytes, folder: Path) -> None:
        given = dict(line.partition("=")[::2] for line in content.decode("latin-1").split("\n"))
        read_settings(**given)

    yield Target("settings", (variables,), read)


def _composed(content: bytes) -> None:
    compose("cseqgan", "toy", [content.decode("utf-8", "replace")])


def _runs(workshop: Path) -> Iterator[Target]:
    run = Run.create(workshop / "run", Config(), {"recipe": "mle", "threads": 1})
    run.save_state({"value": torch.arange(300.0), "step": 3, "rng": [1, 2], "name": "x"})
    config, state = (run.directory / "config.json").read_bytes(), (run.directory / STATE).read_bytes()
    metrics = _json({"step": 1, "stage": "mle", "valid_nll": 3.5, "nll": None}, {"step": 2, "stage": "mle", "nll": 2})
    samples = _json({"step": 1, "stage": "mle", "context": "a", "human": "b", "generator": "c"})

    def reopen(content: bytes, folder: Path) -> None:
        (folder / "config.json").write_bytes(content)
        Run.reopen(folder)

    def resume(content: bytes, folder: Path) -> None:
        (folder / STATE).write_bytes(content)
        Run(folder).load_state()

    def pages(content: bytes, folder: Path) -> None:
        (folder / "m").mkdir()
        for name in ("metrics.jsonl", "samples.jsonl", "report.json"):
            (folder / "m" / name).write_bytes(content)
        read_run(folder, "m")
        _series(folder / "m" / "metrics.jsonl")

    yield Target("config of a run", (config,), reopen)
    yield Target("state of a run", (state,), resume)
    yield Target("log of a run", (metrics, samples), pages)


def _datasets(workshop: Path) -> Iterator[Target]:
    source = workshop / "dialogues.jsonl"
    source.write_bytes(_json(*({"turns": [f"how are {i}?", f"fine {i}", "good"]} for i in range(40))))
    data = workshop / "data"
    prepare([str(source)], PrepareOptions(data, vocabulary=300, valid=0.2, test=0.2))
    for name in ("dataset.json", "train/tokens.npy", "train/turns.npy", "train/dialogues.npy", "train/pairs.npy"):
        yield Target(f"dataset {name}", ((data / name).read_bytes(),), _dataset_with(name, data, workshop))


def _dataset_with(name: str, data: Path, workshop: Path) -> Use:
    copy = workshop / f"data-{name.replace('/', '-')}"
    shutil.copytree(data, copy)
    document = json.loads((data / "dataset.json").read_bytes())

    def use(content: bytes, folder: Path) -> None:
        (copy / name).write_bytes(content)
        if name != "dataset.json":  # its size stands there, and says of most damage that there is some
            document["files"][name]["bytes"] = len(content)
            (copy / "dataset.json").write_text(json.dumps(document), encoding="utf-8")
        split = PreparedDataset.open(copy).split("train")
        split.lengths()
        split.context_batch(range(len(split)), 16)
        split.reply_batch(range(len(split)), 16)

    return use


def _form() -> Target:
    body = (
        b'--frame\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--frame\r\n'
        b'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n'
        b'{"custom_id": "a"}\r\n--frame--\r\n'
    )

    def use(content: bytes, folder: Path) -> None:
        pieces = [content[start : start + 50] for start in range(0, len(content), 50)]

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": pieces.pop(0) if pieces else b"", "more_body": bool(pieces)}

        headers = [(b"content-type", b"multipart/form-data; boundary=frame")]
        asyncio.run(read_upload(Request({"type": "http", "headers": headers}, receive), lambda data: None, 10_000))

    return Target("upload", (body,), use)
