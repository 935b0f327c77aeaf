"""The Dockerfile, without an engine to build it: its lint, what it copies, and its commands in a plain directory."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CORE = {"torch", "numpy", "tokenizers", "safetensors", "rich", "typer"}


def instructions() -> list[tuple[str, str]]:
    """Return each instruction and what stands behind it, lines joined and comments dropped."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, rest in instructions():
        if instruction == "FROM":
            name = rest.split()[-1]
            found[name] = [(instruction, rest)]
        elif name:
            found[name].append((instruction, rest))
    return found


def let_through(directory: Path) -> Path:
    """Copy what .dockerignore lets through into `directory`, as the engine is sent it."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"  # nothing, but
    for rule in rules[1:]:
        if rule.startswith("!"):
            source = ROOT / rule[1:]
            if source.is_dir():
                shutil.copytree(source, directory / rule[1:], ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(source, directory / rule[1:])
        else:
            assert rule in ("**/__pycache__", "**/*.pyc")
    return directory


def test_the_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_what_is_copied_is_let_through(tmp_path: Path) -> None:
    context = let_through(tmp_path)
    copied = []
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            copied += sources
    assert {"app", "chatbot", "training", "migrations", "rejoinder.py", "pyproject.toml"} <= set(copied)
    assert [one for one in copied if not (context / one).exists()] == []
    assert {path.name for path in context.iterdir()} == set(copied)  # and nothing is sent for nothing
    assert not [path for path in context.rglob("*") if path.suffix in (".db", ".safetensors", ".pt", ".env")]


@pytest.mark.parametrize("target", ["serve", "train"])
def test_a_target_runs_as_nobody_in_particular(target: str) -> None:
    stage = stages()[target]
    assert ("USER", "10001") in stage
    last = max(index for index, (name, _) in enumerate(stage) if name in ("RUN", "COPY"))
    assert stage.index(("USER", "10001")) > last  # what is in the image belongs to root
    assert not [rest for name, rest in stage if name in ("ARG", "ENV") and re.search("password|secret|key", rest, re.I)]
    assert any(name == "HEALTHCHECK" for name, _ in stage)
    assert "useradd --uid 10001" in TEXT


def test_the_images_are_small_because_the_building_stays_behind() -> None:
    found = stages()
    for target in ("serve", "train"):
        assert found[target][0][1] == f"run AS {target}"
        assert ("COPY", f"--from=build-{target} /venv /venv") in found[target]
    assert list(found)[-1] == "serve"  # what `docker build .` makes
    assert "TORCH_INDEX" in found["build"][1][1]


def test_training_has_no_package_of_the_web() -> None:
    [install] = [rest for name, rest in stages()["build-train"] if name == "RUN"]
    [extras] = re.findall(r"\.\[([a-z,]+)\]", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(one for name in extras.split(",") for one in project["optional-dependencies"][name]),
    ]
    names = {re.split(r"[<>=\[; ]", one)[0] for one in wanted}
    assert names >= CORE
    assert not names & {"fastapi", "uvicorn", "sqlalchemy", "pydantic", "jinja2", "dbos", "psycopg"}


def test_the_pinned_torch_is_found_as_the_image_finds_it() -> None:
    done = subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            "grep -o '^torch==[0-9.]*' constraints.txt; sed '/^torch==/d' constraints.txt",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", first)
    assert not [line for line in rest if line.startswith("torch==")]
    assert len(rest) > 100


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install what the engine is sent, without dependencies, and return where its modules and its program lie."""
    folder = tmp_path_factory.mktemp("image")
    context = let_through(Path(tmp_path_factory.mktemp("context")))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--no-compile",
            "--target",
            folder,
            context,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def run_in_image(installed: Path, command: list[str], cwd: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start a command of the image where nothing of the repository is found."""
    assert command[0] == "rejoinder"
    environment = {**os.environ, **variables, "PYTHONPATH": str(installed)}
    program = [sys.executable, str(installed / "bin" / "rejoinder"), *command[1:]]
    return subprocess.Popen(
        program, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_what_is_installed_is_complete(installed: Path) -> None:
    for name in ("app/pages/templates/layout.html", "app/pages/static/layout.css", "migrations/env.py"):
        assert (installed / name).exists(), name
    assert list((installed / "training").glob("recipes/*.toml"))
    assert list((installed / "migrations" / "versions").glob("0*.py"))


def test_the_training_image_says_what_it_can(installed: Path, tmp_path: Path) -> None:
    stage = dict(stages()["train"])
    command = [*eval_list(stage["ENTRYPOINT"]), *eval_list(stage["CMD"])]
    with run_in_image(installed, command, tmp_path) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Train a generator by a recipe" in out


def test_the_service_image_serves_and_is_found_healthy(installed: Path, tmp_path: Path) -> None:
    """The image's own command under the image's own environment, asked by the image's own health check."""
    stage = stages()["serve"]
    environment = dict(part.split("=", 1) for name, rest in stage if name == "ENV" for part in shlex.split(rest))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    (tmp_path / "models").mkdir()
    environment |= {
        "REJOINDER_MODELS": str(tmp_path / "models"),
        "REJOINDER_STATE": str(tmp_path / "state"),
        "REJOINDER_PORT": port,
        "REJOINDER_DRAIN_SECONDS": "0",
    }
    [check] = [rest for name, rest in stage if name == "HEALTHCHECK"]
    test = eval_list(check[check.index("CMD") + 4 :])
    assert test[0] == "python"
    test = [sys.executable, *(one.replace(":8000/", f":{port}/") for one in test[1:])]
    with run_in_image(installed, eval_list(dict(stage)["CMD"]), tmp_path, **environment) as process:
        try:
            assert process.stdout is not None
            assert "Rejoinder serves no model yet" in process.stdout.readline()
            assert subprocess.run(test, check=False).returncode == 0
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10) as answer:
                assert answer.status == 200
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert subprocess.run(test, check=False, stderr=subprocess.DEVNULL).returncode != 0


def eval_list(text: str) -> list[str]:
    found: list[str] = json.loads(text)
    return found
