"""The chatbot is a library: it needs nothing of the service and does nothing when it is imported."""

import subprocess
import sys

import pytest


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_imports_where_neither_web_nor_database_nor_training_is_installed() -> None:
    absent = ["fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "alembic", "jinja2"]
    absent += ["app", "training", "tensorboard", "sacrebleu", "chitchat_dataset"]
    run(
        f"""
import importlib, pkgutil, sys
for name in {absent!r}:
    sys.modules[name] = None  # importing it is an ImportError from now on
import chatbot
for module in pkgutil.walk_packages(chatbot.__path__, "chatbot."):
    importlib.import_module(module.name)
assert "chatbot.bot" in sys.modules and "chatbot.generator.transformer" in sys.modules
"""
    )


def test_nothing_but_a_pretrained_generator_needs_the_libraries_of_one() -> None:
    run(
        """
import sys
for name in ("transformers", "peft", "gguf", "accelerate"):
    sys.modules[name] = None
import chatbot.bot, training.commands, training.train, training.corpus.preparation
from chatbot.errors import LanguageModelError
from chatbot.generator.pretrained_source import fetch_tokenizer
try:
    fetch_tokenizer(".")
except LanguageModelError as error:
    assert "no language model" in str(error) or "pip install" in str(error), error
"""
    )


def test_importing_it_does_nothing() -> None:
    run(
        """
import gc, threading, torch
torch.manual_seed(123)
before = torch.random.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), threading.active_count()
import chatbot.bot
after = torch.random.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), threading.active_count()
assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
models = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.nn.Module)]
assert not [m for m in models if type(m).__module__.startswith("chatbot")], models
assert not torch.cuda.is_initialized()
"""
    )


@pytest.mark.parametrize("module", ["chatbot", "chatbot.errors"])
def test_its_errors_are_known_without_torch(module: str) -> None:
    assert run(f"import sys, {module}; print('torch' in sys.modules)") == "False\n"
