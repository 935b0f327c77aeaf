"""Engines in processes of their own, on real bundles: they die and come back, models change under load."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from app.engines import ProcessEngine, ThreadEngine, engines_for, reload_order
from app.errors import UnavailableError
from app.generation import Generation
from app.main import build_generation
from app.settings import Settings
from chatbot.errors import RejoinderError
from chatbot.request import Decoding, ReplyRequest

GOLDEN = Path(__file__).parents[1] / "golden"


def run(settings: Settings, work: Callable[[Generation, list[ProcessEngine]], Coroutine[Any, Any, None]]) -> None:
    engines = [engine for engine in engines_for(settings) if isinstance(engine, ProcessEngine)]

    async def whole() -> None:
        generation = build_generation(settings, engines)
        async with asyncio.timeout(120):
            await generation.start()
            try:
                await work(generation, engines)
            finally:
                await generation.stop()

    asyncio.run(whole())


def settings_for(models: Path, **more: Any) -> Settings:
    return Settings(models=models, device="cpu", precision="fp32", **more)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Give a directory of models with the two golden ones."""
    for name in ("recurrent", "transformer"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    return tmp_path


def request(seed: int, text: str = "how are you?") -> ReplyRequest:
    return ReplyRequest([text], Decoding(temperature=1.5), seed)


async def texts(generation: Generation, seeds: range, model: str = "recurrent") -> list[str]:
    answered = await generation.answer(model, [request(seed) for seed in seeds])
    return [one.answer.replies[0].text for one in answered]


def test_an_engine_that_is_killed_answers_what_it_held_and_comes_back_with_the_same_replies(models: Path) -> None:
    async def work(generation: Generation, engines: list[ProcessEngine]) -> None:
        before = await texts(generation, range(20))
        first = engines[0].pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it surely holds the request when it dies
        held = asyncio.create_task(texts(generation, range(3)))
        await asyncio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(UnavailableError) as caught:
            await held
        assert caught.value.code == "engine_lost"
        assert await texts(generation, range(20)) == before  # waited in the queue until it was back
        assert engines[0].pid != first
        assert generation.writing == 0

    run(settings_for(models, engines=1), work)


def test_models_are_loaded_anew_under_load_and_no_request_is_lost(models: Path) -> None:
    async def work(generation: Generation, _: list[ProcessEngine]) -> None:
        asked = answered = 0
        going = True
        digests = set()

        async def keep_asking() -> None:
            nonlocal asked, answered
            while going:
                asked += 1
                [one] = await generation.answer("recurrent", [request(asked)])
                digests.add(one.model.digest)
                answered += 1

        askers = [asyncio.create_task(keep_asking()) for _ in range(8)]
        old = generation.models.get("recurrent").digest
        await asyncio.sleep(0.2)
        shutil.rmtree(models / "recurrent")
        shutil.copytree(GOLDEN / "transformer", models / "recurrent")  # other weights under the same name
        shutil.rmtree(models / "transformer")
        await generation.reload(reload_order(settings))
        assert generation.models.names == ["recurrent"]
        new = generation.models.get("recurrent").digest
        await asyncio.sleep(0.2)
        going = False
        await asyncio.gather(*askers)
        assert asked == answered > 8
        assert digests == {old, new}  # each reply is attributed to the weights that wrote it
        (models / "recurrent" / "generator.safetensors").write_bytes(b"cut")
        (models / "recurrent" / "config.json").write_text("{}")
        with pytest.raises(RejoinderError, match="none of the 1 models"):
            await generation.reload(reload_order(settings))
        assert len(await texts(generation, range(2))) == 2  # what was loaded stays

    settings = settings_for(models, engines=1)
    run(settings, work)


def test_two_engines_share_the_work_and_give_the_same_replies_as_one(models: Path) -> None:
    found = []
    for count in (1, 2):

        async def work(generation: Generation, _: list[ProcessEngine]) -> None:
            found.append(await texts(generation, range(100)))

        run(settings_for(models, engines=count), work)
    assert found[0] == found[1]
    assert len(set(found[0])) > 10


def test_models_that_cannot_be_loaded_are_one_line(tmp_path: Path) -> None:
    async def work(*_: object) -> None:
        raise AssertionError

    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    with pytest.raises(RejoinderError, match="none of the 1 models can be loaded") as caught:
        run(settings_for(tmp_path), work)
    assert "\n" not in str(caught.value)


def test_the_http_process_imports_no_torch() -> None:
    program = """
import sys
from app.main import create_app
from app.settings import Settings
import app.commands, app.server
create_app(Settings())
assert "torch" not in sys.modules, "torch"
assert "tokenizers" not in sys.modules, "tokenizers"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_there_is_an_engine_for_each_gpu_or_for_each_core_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert len(engines_for(Settings(device="auto"))) == 2
    assert len(engines_for(Settings(device="auto", engines=3))) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert len(engines_for(Settings(device="auto"))) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert len(engines_for(Settings(device="cpu"))) == 1
    assert len(engines_for(Settings(device="cuda:1"))) == 1


def test_what_an_engine_logs_comes_into_our_log(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    (models / "transformer" / "generator.safetensors").write_bytes(b"nonsense")

    async def work(generation: Generation, engines: list[ProcessEngine]) -> None:
        assert "transformer" in generation.models.broken

    with caplog.at_level(logging.WARNING):
        run(settings_for(models, engines=1), work)
    [record] = [record for record in caplog.records if record.name == "chatbot.models_directory"]
    assert record.getMessage().startswith("the model transformer is left out: ")
    assert record.levelno == logging.ERROR
    assert set(record.facts) == {"engine"}  # type: ignore[attr-defined] # which process


def test_an_engine_that_was_never_started_can_be_ended(tmp_path: Path) -> None:
    for engine in (ProcessEngine(tmp_path, "cpu", 4, "fp32"), ThreadEngine([])):
        engine.put([reload_order(Settings(models=tmp_path))])
        engine.kill()
        engine.stop()
    assert ProcessEngine(tmp_path, "cpu", 4, "fp32").pid is None
