"""A process that gives way, and one that it starts."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has these policies")

PROGRAM = """
import os, subprocess, sys
from chatbot.priority import give_way, take_precedence

if sys.argv[1:] == ["inner"]:
    inherited = os.sched_getscheduler(0)
    take_precedence()
    print(inherited == os.SCHED_BATCH, os.sched_getscheduler(0) == os.SCHED_OTHER)
else:
    give_way()
    print(os.sched_getscheduler(0) == os.SCHED_BATCH, flush=True)
    subprocess.run([sys.executable, "-c", sys.orig_argv[2], "inner"], check=True)
"""


def test_who_gives_way_does_not_make_its_children_do_so() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3


def test_who_was_started_as_idle_stays_so() -> None:
    program = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); "
    program += "from chatbot.priority import give_way, take_precedence; give_way(); take_precedence(); "
    program += "print(os.sched_getscheduler(0) == os.SCHED_IDLE)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_where_it_is_forbidden_all_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatbot.priority import give_way

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.sched_setscheduler", refuse)
    give_way()
