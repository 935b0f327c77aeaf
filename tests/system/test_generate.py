"""`rejoinder generate` in its own processes: killed without a word, here and on a cluster, every row is there once."""

import importlib.util
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import PROGRAM, Rejoinder

GOLDEN = Path(__file__).parents[1] / "golden" / "recurrent"


def write_contexts(path: Path, count: int) -> Path:
    rows = [{"id": i, "turns": [f"how are you, {i}?"]} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def arguments(source: Path, target: Path, *more: str) -> list[str]:
    settings = ["--temperature", "1.5", "--seed", "3", "--precision", "fp32", "--device", "cpu"]
    return ["generate", "--model", str(GOLDEN), "--in", str(source), "--out", str(target), *settings, *more]


def assert_same(one: Path, other: Path, count: int) -> None:
    """See that both files have every row once, in order, with the same replies.

    Those that end together are scored together, and a sum's last bits depend on how many that are.
    """
    rows, others = [
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (one, other)
    ]
    scores, other_scores = [
        [reply.pop("discriminator_score") for row in some for reply in row["replies"]] for some in (rows, others)
    ]
    assert [row["id"] for row in rows] == list(range(count))
    assert rows == others
    assert scores == pytest.approx(other_scores, abs=1e-5)


def until_begun(journal: Path, lines: int, process: "subprocess.Popen[str]", seconds: float = 120) -> int:
    """Wait until so many lines are in the journal, and return how many there are."""
    end = time.monotonic() + seconds
    while True:
        found = journal.read_bytes().count(b"\n") if journal.exists() else 0
        if found > lines:
            return found
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"{found} lines after {seconds} s"
        time.sleep(0.01)


def test_killed_it_goes_on_and_every_line_is_there_once(rejoinder: Rejoinder, tmp_path: Path) -> None:
    source, target = write_contexts(tmp_path / "contexts.jsonl", 3000), tmp_path / "replies.jsonl"
    journal = tmp_path / ".replies.jsonl.partial"
    kept = 0
    for part in (200, 900):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            [*PROGRAM, *arguments(source, target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as process:
            found = until_begun(journal, part, process)
            process.kill()
        assert not target.exists()
        assert kept < found < 3000
        kept = found
    changed = write_contexts(tmp_path / "others.jsonl", 2999)
    refused = rejoinder(*arguments(changed, target))
    assert refused.returncode == 1
    assert "changed: input" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = rejoinder(*arguments(source, target))
    assert done.returncode == 0, done.stderr
    assert "3,000 contexts answered" in done.stdout
    undisturbed = rejoinder(*arguments(source, tmp_path / "undisturbed.jsonl"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert_same(target, tmp_path / "undisturbed.jsonl", 3000)
    assert not journal.exists()


def test_parquet_in_and_csv_out(rejoinder: Rejoinder, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    source, target = tmp_path / "contexts.parquet", tmp_path / "replies.csv"
    table = pa.table({"turns": [["hello"], ["how are you?", "fine", "and now?"]], "id": [7, 8]})
    pytest.importorskip("pyarrow.parquet").write_table(table, source)
    done = rejoinder(*arguments(source, target))
    assert done.returncode == 0, done.stderr
    header, *lines = target.read_text(encoding="utf-8").splitlines()
    assert header.startswith("turns,id,replies,")
    assert len(lines) == 2


def test_an_engine_that_is_not_there(rejoinder: Rejoinder, tmp_path: Path) -> None:
    source = write_contexts(tmp_path / "contexts.jsonl", 3)
    done = rejoinder(*arguments(source, tmp_path / "out.jsonl", "--engine", "spark"))
    assert done.returncode == 2
    assert "'spark', expected local or ray" in done.stderr
    if importlib.util.find_spec("ray") is None:
        done = rejoinder(*arguments(source, tmp_path / "out.jsonl", "--engine", "ray"))
        assert done.returncode == 1
        assert "pip install 'rejoinder[ray]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["contexts.jsonl"]


def works_on(node: Any) -> bool:
    """Say whether an actor with the model runs on a node of the cluster."""
    [raylet] = node.all_processes["raylet"]
    said = subprocess.run(["ps", "-o", "args=", "--ppid", str(raylet.process.pid)], capture_output=True, text=True)
    return any("_Actor" in line for line in said.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_of_two_nodes_of_a_cluster_one_is_killed_and_every_row_is_there_once(
    rejoinder: Rejoinder, tmp_path: Path
) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'rejoinder[ray]'")
    from ray.cluster_utils import Cluster

    count = 8000
    source, target = write_contexts(tmp_path / "contexts.jsonl", count), tmp_path / "replies.jsonl"
    here = rejoinder(*arguments(source, tmp_path / "here.jsonl"))
    assert here.returncode == 0, here.stderr
    memory = {"object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    try:
        other = cluster.add_node(num_cpus=2, **memory)
        cluster.wait_for_nodes()
        root = str(Path(__file__).parents[2])
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "RAY_ADDRESS": cluster.address,
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        }
        with subprocess.Popen(
            [*PROGRAM, *arguments(source, target, "--engine", "ray", "--actors", "2")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as process:
            found = until_begun(tmp_path / ".replies.jsonl.partial", 500, process)
            assert found < count / 2
            assert works_on(other)
            cluster.remove_node(other, allow_graceful=False)
            output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
    finally:
        cluster.shutdown()
    assert_same(target, tmp_path / "here.jsonl", count)


def test_what_a_bundle_prefers_holds_where_nobody_says_otherwise(rejoinder: Rejoinder, tmp_path: Path) -> None:
    model, source = tmp_path / "model", write_contexts(tmp_path / "contexts.jsonl", 20)
    shutil.copytree(GOLDEN, model)

    def replies(name: str, *more: str) -> str:
        target = tmp_path / name
        settings = ["--precision", "fp32", "--device", "cpu", *more]
        done = rejoinder("generate", "--model", model, "--in", source, "--out", target, *settings)
        assert done.returncode == 0, done.stderr
        return target.read_text(encoding="utf-8")

    asked, plain = replies("asked.jsonl", "--temperature", "1.5", "--top-p", "0.5"), replies("plain.jsonl")
    assert asked != plain
    done = rejoinder("prefer", model, "--temperature", "1.5", "--top-p", "0.5")
    assert (done.returncode, done.stdout) == (0, f"{model}: temperature 1.5, top_p 0.5\n")
    assert replies("preferred.jsonl") == asked
    assert replies("otherwise.jsonl", "--temperature", "0.7", "--top-p", "1") == plain
    refused = rejoinder("prefer", model, "--top-p", "0")
    assert refused.returncode == 2
    assert "top_p is 0.0, expected above 0 and at most 1" in refused.stderr
    assert rejoinder("prefer", model).stdout == done.stdout
