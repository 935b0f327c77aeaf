"""Freed memory is kept: the very pages come back without the kernel's help; and threads share what is free."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chatbot.memory import keep_freed_memory

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux counts them")
def test_a_tensor_asked_for_again_costs_no_new_pages() -> None:
    keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(16 * 2**20)  # 64 MB: glibc's default gives such blocks back at once
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # Small things may take a bite of the block in between, so a few rounds pass until it fits again.
    assert min(faults() for _ in range(6)) < 1000  # 16,384 pages of 4 KB


ARENAS = """
import ctypes, re, sys, threading
from chatbot.memory import share_freed_memory
if sys.argv[1] == "shared":
    share_freed_memory()
kept = []
threads = [threading.Thread(target=lambda: kept.extend(bytearray(5000) for _ in range(20))) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL("libc.so.6")
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(len(re.findall("<heap nr=", open(sys.argv[2]).read())))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas")
@pytest.mark.parametrize("shared", [True, False])
def test_threads_take_their_memory_from_one_place(tmp_path: Path, shared: bool) -> None:
    command = [sys.executable, "-c", ARENAS, "shared" if shared else "as it comes", str(tmp_path / "arenas.xml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert (int(done.stdout) == 1) == shared


def test_asking_twice_does_no_harm() -> None:
    keep_freed_memory()
    keep_freed_memory()
    assert torch.ones(8).sum() == 8


@pytest.mark.parametrize(("given", "kept"), [(None, "256"), ("7", "7")])
def test_kernels_of_few_shapes_are_kept_unless_somebody_says_otherwise(given: str | None, kept: str) -> None:
    program = "import os; from chatbot.memory import keep_freed_memory as k; k(); print(os.environ[os.environ['NAME']])"
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    environment = {key: value for key, value in os.environ.items() if key != name} | {"NAME": name}
    if given is not None:
        environment[name] = given
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == kept
