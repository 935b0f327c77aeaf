"""A damaged bundle is refused with a word that says which file: at start, and on reload while the old one serves on."""

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from chatbot.bundle import load_bundle, save_bundle
from chatbot.errors import BundleError
from tests.faults.mutations import sweep
from tests.system.conftest import PROGRAM, Service

GOLDEN = Path(__file__).parents[1] / "golden" / "recurrent"
FILES = ("config.json", "tokenizer.json", "generator.safetensors", "discriminator.safetensors")
REGIONS = 48

Serve = Callable[..., AbstractContextManager[Service]]


@pytest.mark.parametrize("name", FILES)
def test_damage_in_any_region_of_any_file_is_found(tmp_path: Path, name: str) -> None:
    bundle = tmp_path / "bundle"
    save_bundle(load_bundle(GOLDEN), bundle)  # written by today's program: the golden one has no digest of its config
    whole = (bundle / name).read_bytes()
    for content in sweep(whole, REGIONS):
        (bundle / name).write_bytes(content)
        refusal = refused(bundle)
        if refusal is None:  # a space that became a line's end: it says the same
            assert name == "config.json"
            assert json.loads(content) == json.loads(whole)
        else:
            assert str(bundle) in refusal
            assert "\n" not in refusal


def refused(bundle: Path) -> str | None:
    try:
        load_bundle(bundle)
    except BundleError as error:
        return str(error)
    return None


def test_the_service_does_not_start_with_it_and_says_why(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(GOLDEN, models / "recurrent")
    damage(models / "recurrent" / "generator.safetensors")
    done = subprocess.run(
        [*PROGRAM, "serve", "--models", models, "--state", tmp_path / "state", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("rejoinder: ")
    assert "generator.safetensors: not the file that config.json describes" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_reload_the_old_one_serves_on(serve: Serve, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(GOLDEN, models / "recurrent")
    with (
        serve(models, tmp_path / "state", REJOINDER_PRECISION="fp32") as service,
        httpx.Client(base_url=service.address, timeout=60) as client,
    ):
        before = ask(client)
        for name in ("config.json", "tokenizer.json", "generator.safetensors"):
            for bundle in (GOLDEN, GOLDEN.with_name("transformer")):  # the one that is served, and another in its place
                shutil.rmtree(models / "recurrent")
                shutil.copytree(bundle, models / "recurrent")
                damage(models / "recurrent" / name)
                refused = client.post("/v1/models/reload")
                assert refused.status_code == 400, refused.text
                assert name in refused.json()["error"]["message"]
                assert ask(client) == before
        shutil.rmtree(models / "recurrent")
        shutil.copytree(GOLDEN, models / "recurrent")
        assert client.post("/v1/models/reload").status_code == 200
        assert ask(client) == before


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def ask(client: httpx.Client) -> str:
    body = {"model": "recurrent", "messages": [{"role": "user", "content": "how are you?"}], "seed": 5}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])
