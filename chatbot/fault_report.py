"""What a log may say of a fault: where it happened and of what kind. Knows no log and no format.

The message of an exception often quotes the value that it failed at, and that may be what somebody said in confidence:
it is told for those kinds alone whose messages come from the system, from torch, or speak of types.
"""

import traceback
from typing import Final

_TOLD: Final = (OSError, RuntimeError, MemoryError, TypeError, AttributeError, NameError, ImportError)


def name_fault(fault: BaseException) -> str:
    """Return the kind of `fault`, with its message where that quotes nobody."""
    kind = type(fault)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    told = isinstance(fault, _TOLD) and kind.__module__ in ("builtins", "torch", "torch.cuda", "socket")
    return f"{name}: {fault}" if told and str(fault) else name


def report_fault(fault: BaseException) -> str:
    """Return the stack of `fault` and of those that it came from, the first cause first; no values of variables."""
    parts = []
    seen: set[int] = set()
    link: BaseException | None = fault
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        stack = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{stack}{name_fault(link)}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n\nand then:\n\n".join(reversed(parts))
