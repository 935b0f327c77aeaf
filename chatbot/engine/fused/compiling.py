"""How loops over numbers are compiled: once for this processor, kept between starts, addresses in and nothing out.

With `registers` the only place that knows numba.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be added up in lanes of a register, always in the same order. Numbers that are none stay so.
FREEDOMS: Final = ("reassoc", "contract", "nsz", "arcp")
# Dividing by zero gives no exception: looking for it would keep loops out of the registers.
_OPTIONS: Final[dict[str, Any]] = {"fastmath": set(FREEDOMS), "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """Compile `function` when it is first called, or take what an earlier start has left."""
    loop = numba.njit(**_OPTIONS)(function)
    try:
        loop.enable_caching()
        # The library looks at the date of the function's own file alone, and parts of others are inlined.
        loop._cache._cache_file._source_stamp = _dates()
    except (RuntimeError, AttributeError):  # no folder may be written, or it is another library: compile at each start
        loop = numba.njit(**_OPTIONS)(function)
    return cast(Function, loop)


@functools.cache
def _dates() -> tuple[tuple[str, float, int], ...]:
    """Return what changes when anything does that compiled loops are made of."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime, file.stat().st_size) for file in files)


def inlined(function: Function) -> Function:
    """Make `function` a part of the loops that call it."""
    return cast(Function, numba.njit(inline="always", **_OPTIONS)(function))


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_context: Any, address: Any) -> Any:
    def build(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _.get_value_type(signature.return_type))

    return types.voidptr(address), build


@inlined
def array(address: Any, shape: Any, kind: Any) -> Any:
    """Return the numbers of `kind` at `address` as an array of `shape`."""
    return numba.carray(_pointer(address), shape, kind)
