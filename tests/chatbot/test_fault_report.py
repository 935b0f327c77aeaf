"""A report of a fault says where and of what kind, and quotes nobody."""

import pytest

from chatbot.errors import RequestError
from chatbot.fault_report import name_fault, report_fault


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (FileNotFoundError(2, "No such file or directory"), "FileNotFoundError: [Errno 2] No such file or directory"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
        (TypeError("'NoneType' object is not callable"), "TypeError: 'NoneType' object is not callable"),
        (RuntimeError(), "RuntimeError"),
        (ValueError("could not read 'my secret'"), "ValueError"),
        (KeyError("my secret"), "KeyError"),
        (UnicodeEncodeError("utf-8", "my secret", 0, 1, "no"), "UnicodeEncodeError"),
        (RequestError("my secret is too long"), "chatbot.errors.RequestError"),
    ],
)
def test_messages_that_may_quote_are_left_out(fault: Exception, name: str) -> None:
    assert name_fault(fault) == name


def test_the_causes_come_first_and_no_message_with_them() -> None:
    def inner() -> None:
        raise ValueError("my secret")

    try:
        try:
            inner()
        except ValueError as error:
            raise RuntimeError("it did not work") from error
    except RuntimeError as error:
        report = report_fault(error)
    assert report.index("in inner") < report.index("ValueError\n") < report.index("RuntimeError: it did not work")
    assert "my secret" not in report.replace('raise ValueError("my secret")', "")


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert report_fault(first).count("Traceback") == 2
