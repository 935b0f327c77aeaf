"""A guide as its reader follows it: files are made as it shows them, patches applied, commands run in order."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
SOURCES = ("app", "chatbot", "training", "migrations", "tests/golden", "rejoinder.py", "pyproject.toml")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is to be, and its text."""

    language: str
    file: str
    text: str


def blocks(name: str) -> Iterator[Block]:
    """Yield the fenced blocks of the guide called `name`."""
    page = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    for fence, text in re.findall(r"^```([^\n]*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        language, _, rest = fence.partition(" ")
        yield Block(language, rest.removeprefix("file="), text)


def copy_sources(target: Path) -> None:
    """Copy the program to `target`, where a guide may change it."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)


def follow(name: str, where: Path, *, sources: Path = ROOT) -> str:
    """Make the files of a guide in `where`, apply its patches there, run its commands, and return what they print.

    `rejoinder` and `python` are this environment's, with the program at `sources`.
    """
    commands = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for block in blocks(name):
        if block.file:
            path = where / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "diff":
            apply(block.text, where)
        elif block.language == "sh":
            commands.append(block.text)
    programs = where / ".programs"
    programs.mkdir()
    for program, arguments in (("python", ""), ("rejoinder", f"{sources / 'rejoinder.py'} ")):
        (programs / program).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n', encoding="utf-8")
        (programs / program).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(sources),
        "OMP_NUM_THREADS": "1",
        "REJOINDER_DRAIN_SECONDS": "0",
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(commands)],
        cwd=where,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def apply(patch: str, where: Path) -> None:
    """Make the changes of a unified diff of one file; what is to be changed is found by its lines, not by numbers."""
    header, *hunks = re.split(r"^@@.*\n", patch, flags=re.MULTILINE)
    [name] = re.findall(r"^\+\+\+ b/(.+)$", header, re.MULTILINE)
    path = where / name
    text = path.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert text.count(old) == 1, f"{name}: found {text.count(old)} times, expected once:\n{old}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def lines_of_code(name: str) -> int:
    """Return how many lines of code a guide asks for, commands and unchanged lines of patches apart."""
    count = 0
    for block in blocks(name):
        if block.language == "diff":
            count += sum(line.startswith("+") and not line.startswith("+++") for line in block.text.splitlines())
        elif block.file:
            count += sum(bool(line.strip()) for line in block.text.splitlines())
    return count
