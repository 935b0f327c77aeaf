"""Clients that people have, unchanged, each in a virtual environment of its own, against a real service.

The environments are kept in .cache/clients, so that only the first run installs them. A client that cannot be installed
(no network) is skipped with the reason.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.system.conftest import Service

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "clients"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def installed(name: str, *packages: str) -> Path:
    """Return the Python of an environment that holds `packages`."""
    home = CACHE / name
    python = home / "bin" / "python"
    done = home / "installed"
    if done.is_file() and done.read_text() == "\n".join(packages):
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    pins = ROOT / "constraints.txt"
    torch = [line for line in pins.read_text(encoding="utf-8").splitlines() if line.startswith("torch==")]
    (home / "torch.txt").write_text("\n".join(torch))  # of all our pins this one alone: else gigabytes of CUDA
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(home / "torch.txt"), *packages]
    result = subprocess.run(install, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"{name} cannot be installed: {result.stderr.strip().splitlines()[-1]}")
    done.write_text("\n".join(packages))
    return python


def run(python: Path, program: str, service: Service, folder: Path, **variables: str) -> str:
    """Run `program` with the service's address in the usual variables and return what it printed."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"{service.address}/v1",
        "OPENAI_API_KEY": "none",
        "HF_HUB_OFFLINE": "1",
        **variables,
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(python), "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def expected(service: Service, message: str, seed: int, max_tokens: int = 8) -> str:
    """Return the reply as plain HTTP gives it."""
    body = {
        "model": "recurrent",
        "messages": [{"role": "user", "content": message}],
        "seed": seed,
        "max_tokens": max_tokens,
        "temperature": 1.0,
    }
    answer = httpx.post(f"{service.address}/v1/chat/completions", json=body, timeout=60).json()
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_litellm(service: Service, tmp_path: Path) -> None:
    program = """
import json, os, litellm
common = dict(model="openai/recurrent", api_base=os.environ["OPENAI_BASE_URL"], api_key="none", seed=7, max_tokens=8,
              temperature=1.0, messages=[{"role": "user", "content": "how are you?"}])
whole = litellm.completion(**common)
parts = [part.choices[0].delta.content or "" for part in litellm.completion(**common, stream=True)]
print(json.dumps([whole.choices[0].message.content, "".join(parts), whole.usage.completion_tokens]))
"""
    whole, streamed, tokens = json.loads(
        run(installed("litellm", "litellm"), program, service, tmp_path).splitlines()[-1]
    )
    assert whole == streamed == expected(service, "how are you?", 7)
    assert 1 <= tokens <= 8


def test_langchain_openai(service: Service, tmp_path: Path) -> None:
    program = """
import json
from langchain_openai import ChatOpenAI
chat = ChatOpenAI(model="recurrent", seed=7, max_tokens=8, temperature=1.0)
history = [("human", "hello"), ("ai", "hi"), ("human", "how are you?")]
print(json.dumps([chat.invoke("how are you?").content, "".join(part.content for part in chat.stream("how are you?")),
                  len(chat.batch(["hello", "how are you?", "你好"])), chat.invoke(history).content]))
"""
    python = installed("langchain-openai", "langchain-openai")
    whole, streamed, batch, answered = json.loads(run(python, program, service, tmp_path))
    assert whole == streamed == expected(service, "how are you?", 7)
    assert batch == 3
    assert answered


def test_llm(service: Service, tmp_path: Path) -> None:
    settings = f"- model_id: ours\n  model_name: recurrent\n  api_base: {service.address}/v1\n"
    (tmp_path / "extra-openai-models.yaml").write_text(settings)
    program = """
from click.testing import CliRunner
from llm.cli import cli
asked = ["how are you?", "-o", "seed", "7", "-o", "max_tokens", "8", "-o", "temperature", "1.0"]
for how in ([], ["--no-stream"]):
    arguments = ["prompt", "-m", "ours", *how, *asked]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    print(repr(result.output.strip()))
"""
    said = run(installed("llm", "llm"), program, service, tmp_path, LLM_USER_PATH=str(tmp_path)).splitlines()
    assert said == [repr(expected(service, "how are you?", 7).strip())] * 2


def test_inspect_ai(service: Service, tmp_path: Path) -> None:
    program = """
import json, os
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
model = get_model("openai-api/ours/recurrent", base_url=os.environ["OPENAI_BASE_URL"], api_key="none",
                  config=GenerateConfig(seed=7, max_tokens=8, temperature=1.0))
samples = [Sample(input="how are you?", target=""), Sample(input="hello", target="")]
task = Task(dataset=samples, solver=generate(), scorer=includes())
[log] = eval(task, model=model, display="none", log_dir="logs")
print(json.dumps([log.status, [sample.output.completion for sample in log.samples]]))
"""
    python = installed("inspect-ai", "inspect-ai", "openai")
    status, replies = json.loads(run(python, program, service, tmp_path).splitlines()[-1])
    assert status == "success"
    assert replies[0] == expected(service, "how are you?", 7)
    assert len(replies) == 2


def test_gradio_load_chat(service: Service, tmp_path: Path) -> None:
    program = """
import json, os
import gradio as gr
from gradio_client import Client
demo = gr.load_chat(os.environ["OPENAI_BASE_URL"], model="recurrent", token="none")
_, address, _ = demo.launch(prevent_thread_lock=True, quiet=True)
client = Client(address, verbose=False)
[name, *_] = client.view_api(return_format="dict")["named_endpoints"]
print(json.dumps(client.predict({"text": "how are you?", "files": []}, api_name=name)))
os._exit(0)
"""
    python = installed("gradio", "gradio", "openai")
    program = program.replace("os._exit", "import sys; sys.stdout.flush(); os._exit")
    said = json.loads(run(python, program, service, tmp_path, GRADIO_ANALYTICS_ENABLED="False").splitlines()[-1])
    assert said
    assert "error" not in json.dumps(said).lower()


def test_lm_eval(service: Service, tmp_path: Path) -> None:
    rows = [{"question": "how are you?", "answer": "fine"}, {"question": "hello", "answer": "hi"}]
    (tmp_path / "rows.json").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "chitchat.yaml").write_text(
        "task: chitchat\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {tmp_path / 'rows.json'}\noutput_type: generate_until\ntest_split: test\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'
        "generation_kwargs:\n  max_gen_toks: 8\n  do_sample: true\n  temperature: 1.0\n  until: []\n"
        "metric_list:\n  - metric: exact_match\n    aggregation: mean\n    higher_is_better: true\n"
    )
    program = f"""
import json
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
found = simple_evaluate(
    model="local-chat-completions",
    model_args="model=recurrent,base_url={service.address}/v1/chat/completions,num_concurrent=1,tokenized_requests=False",
    tasks=["chitchat"], task_manager=TaskManager(include_path="{tmp_path}"), apply_chat_template=True, log_samples=True,
    bootstrap_iters=0,
)
print(json.dumps([sample["resps"][0][0] for sample in found["samples"]["chitchat"]]))
"""
    python = installed("lm-eval", "lm-eval[api]")
    replies = json.loads(run(python, program, service, tmp_path).splitlines()[-1])
    assert len(replies) == 2
    assert all(replies)
