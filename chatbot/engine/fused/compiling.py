"""How loops over numbers are compiled: once for this processor, kept between starts, addresses in and nothing out.

The only place that knows numba.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be added up in lanes of a register, always in the same order. Numbers that are none stay so.
_FREEDOMS: Final = {"reassoc", "contract", "nsz", "arcp"}
# Dividing by zero gives no exception: looking for it would keep loops out of the registers.
_OPTIONS: Final[dict[str, Any]] = {"fastmath": _FREEDOMS, "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """Compile `function` when it is first called, or take what an earlier start has left."""
    try:
        return cast(Function, numba.njit(cache=True, **_OPTIONS)(function))
    except RuntimeError:  # there is no folder that may be written: it is compiled at every start
        return cast(Function, numba.njit(**_OPTIONS)(function))


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
