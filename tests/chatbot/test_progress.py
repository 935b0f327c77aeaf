"""What people see of long work: bars on a terminal, a line now and then in a log."""

import os
import sys
from contextlib import suppress
from io import FileIO

import pytest

from chatbot.progress import Display


def test_a_log_gets_few_lines_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 1000.0
    monkeypatch.setattr("chatbot.progress.time.monotonic", lambda: seconds)
    with Display() as display:
        for done in range(0, 5000, 1000):
            display.count("read", done, 5000)
            seconds += 20
        display.count("check", 7, None)
        display.report("train", 0.5, "step 10: [loss] 2.5")
        display.report("train", None, "")
    said = capsys.readouterr()
    assert said.out == ""
    counted = [f"read: {done} of 5,000" for done in ("0", "2,000", "4,000")]
    assert said.err.splitlines() == [*counted, "train: step 10: [loss] 2.5"]


def test_a_stage_of_unknown_length_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.progress.time.monotonic", lambda: 1000.0)
    with Display() as display:
        display.count("read", 1234, None)
    assert capsys.readouterr().err == "read: 1,234\n"


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            with Display() as display:
                display.count("read", 1, 4)
                display.count("read", 3, 4)
                display.report("train", 0.25, "step 10")
                display.report("train", None, "step 11")  # the bars are drawn a last time at the end
        shown = all_of(screen).decode()
    assert "3/4" in shown
    assert " 250/1000" in shown
    assert "train: step 10" in shown
    assert "train: step 11" in shown


def all_of(screen: FileIO) -> bytes:
    """Return what was written to a terminal that is closed now; it arrives in pieces, and its end is an error."""
    read = b""
    with suppress(OSError):
        while piece := screen.read(65536):
            read += piece
    return read
