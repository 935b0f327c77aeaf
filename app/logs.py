"""The log: one line for each event, as JSON for machines or in colour for a terminal, from every library alike.

Whoever logs uses Python's own `logging`; here alone is decided how it looks. What a request's line says is
`app.request_log`'s. A message of an exception that may quote somebody's text is left out: see `chatbot.fault_report`.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from asgi_correlation_id import correlation_id
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper
from structlog.stdlib import ProcessorFormatter
from structlog.typing import ExcInfo, Processor

from app.request_facts import noted
from app.settings import Settings
from chatbot.fault_report import report_fault

_OURS: Final = ("app", "chatbot", "rejoinder")
_FIRST: Final = ("time", "level", "event", "logger", "request_id")

Line = MutableMapping[str, Any]

_ENCODER: Final = json.JSONEncoder(default=str)
"""Made once: `json.dumps` with an argument makes one for each line."""


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send what is logged in this process to `stream`, the process's standard error by default."""
    target = sys.stderr if stream is None else stream
    at_screen = settings.log_format == "console" or (settings.log_format == "auto" and target.isatty())
    before: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_request,
        TimeStamper(fmt="iso", utc=True, key="timestamp" if at_screen else "time"),
        ExceptionRenderer(_report),
    ]
    after: list[Processor] = [ProcessorFormatter.remove_processors_meta]
    after += _for_people(target) if at_screen else [_in_order, JSONRenderer(_as_json)]
    handler = logging.StreamHandler(target)
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=before, processors=after))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # of libraries; ours say more
    for name in _OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    logging.getLogger("asgi_correlation_id").setLevel(logging.ERROR)  # a client's header that is no id
    dbos = logging.getLogger("dbos")
    dbos.handlers[:] = [logging.NullHandler()]  # where it finds one, it adds none of its own beside ours
    dbos.propagate = True
    logging.captureWarnings(True)


def _add_request(logger: Any, method: str, line: Line) -> Line:
    """Say to which request a line belongs, and add what the line itself brings along."""
    request_id = correlation_id.get()
    if request_id is not None:
        line["request_id"] = request_id
        if (key_id := noted().get("key_id")) is not None:
            line["key_id"] = key_id
    record: logging.LogRecord | None = line.get("_record")
    line.update(getattr(record, "facts", {}))
    return line


def _report(exc_info: ExcInfo) -> str:
    return report_fault(exc_info[1])


def _for_people(stream: TextIO) -> list[Processor]:
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty())]


def _as_json(line: Line, **_: Any) -> str:
    return _ENCODER.encode(line)


def _in_order(logger: Any, method: str, line: Line) -> Line:
    return {name: line.pop(name) for name in _FIRST if name in line} | dict(line)
