"""Sums over rows of numbers in whole registers, for rows as short as a head of attention.

The compiler would unroll such loops for rows several times as long, and take the slow way round them for these. What is
remembered is read and written as bfloat16: a step waits for that memory more than for anything that is done with it.

Arguments are addresses; strides are in bytes. With `compiling` the only place that knows numba.
"""

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from chatbot.engine.fused.compiling import FREEDOMS

_WIDTH: Final = 16
"""Numbers of a register of 512 bits; where registers are narrower, one is made of several."""
_ADDRESS: Final = ir.IntType(64)
_INT: Final = ir.IntType(32)
_FLOAT: Final = ir.FloatType()


def _register_of(kind: ir.Type) -> ir.VectorType:
    return ir.VectorType(kind, _WIDTH)


_FLOATS: Final = _register_of(_FLOAT)
_HALVES: Final = _register_of(ir.IntType(16))
"""The upper halves of floats, which is what bfloat16 is."""
_SIZE: Final = {_FLOATS: 4, _HALVES: 2}
"""Bytes of a number."""
_NAME: Final = {_FLOATS: "v16f32", _HALVES: "v16i16"}

Each = Callable[[Any, Any], None]
"""Builds what is done to one register of a row, given its first number's index and the mask of one that is not full."""


def _scoring(kind: ir.VectorType) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def score(_context: Any, query: Any, keys: Any, stride: Any, count: Any, width: Any, out: Any) -> Any:
        """Write to out [count] the products of a query [width] with each of the keys, which lie `stride` apart."""

        def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            query, keys, stride, count, width, out = arguments
            with cgutils.for_range(builder, count) as loop:
                key = builder.add(keys, builder.mul(loop.index, stride))
                total = _nothing(builder)

                def add(first: Any, mask: Any, key: Any = key, total: Any = total) -> None:
                    left, right = _load(builder, _FLOATS, query, first, mask), _load(builder, kind, key, first, mask)
                    _add_product(builder, total, left, right)

                _each_register(builder, width, add)
                builder.store(_sum(builder, builder.load(total)), _number(builder, out, loop.index))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), build

    return score


def _blending(kind: ir.VectorType) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def blend(_context: Any, weights: Any, values: Any, stride: Any, count: Any, width: Any, out: Any) -> Any:
        """Write to out [width] the sum of the values, which lie `stride` apart, by the weights [count]."""

        def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            weights, values, stride, count, width, out = arguments

            def add(first: Any, mask: Any) -> None:
                total = _nothing(builder)
                with cgutils.for_range(builder, count) as loop:
                    weight = _spread(builder, builder.load(_number(builder, weights, loop.index)), _FLOATS)
                    value = builder.add(values, builder.mul(loop.index, stride))
                    _add_product(builder, total, weight, _load(builder, kind, value, first, mask))
                _store(builder, _FLOATS, builder.load(total), out, first, mask)

            _each_register(builder, width, add)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), build

    return blend


score, blend = _scoring(_FLOATS), _blending(_FLOATS)
"""Of keys and values that are floats."""
score_remembered, blend_remembered = _scoring(_HALVES), _blending(_HALVES)
"""Of keys and values that have been remembered."""


@intrinsic  # type: ignore[untyped-decorator]
def remember(_context: Any, row: Any, width: Any, out: Any) -> Any:
    """Write a row [width] to where it is remembered, each number rounded to the nearest."""

    def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        row, width, out = arguments

        def round_off(first: Any, mask: Any) -> None:
            bits = builder.bitcast(_load(builder, _FLOATS, row, first, mask), _register_of(_INT))
            upper = _shift(builder.lshr, bits)
            even = builder.and_(upper, _constant(_INT, 1))
            rounded = builder.add(builder.add(bits, _constant(_INT, 0x7FFF)), even)
            _store(builder, _HALVES, builder.trunc(_shift(builder.lshr, rounded), _HALVES), out, first, mask)

        _each_register(builder, width, round_off)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), build


def _each_register(builder: Any, width: Any, each: Each) -> None:
    """Build `each` for the full registers of a row, and once more for what is left."""
    full = builder.udiv(width, _ADDRESS(_WIDTH))
    with cgutils.for_range(builder, full) as loop:
        each(builder.mul(loop.index, _ADDRESS(_WIDTH)), None)
    rest = builder.urem(width, _ADDRESS(_WIDTH))
    with builder.if_then(builder.icmp_unsigned(">", rest, _ADDRESS(0))):
        places = ir.Constant(_register_of(_ADDRESS), list(range(_WIDTH)))
        mask = builder.icmp_unsigned("<", places, _spread(builder, rest, _register_of(_ADDRESS)))
        each(builder.mul(full, _ADDRESS(_WIDTH)), mask)


def _load(builder: Any, kind: ir.VectorType, row: Any, first: Any, mask: Any) -> Any:
    """Return numbers of a row as floats; 0 where the mask is not."""
    place = _place(builder, kind, row, first)
    if mask is None:
        found = builder.load(place, align=_SIZE[kind])
    else:
        arguments = place, _INT(_SIZE[kind]), mask, ir.Constant(kind, [0] * _WIDTH)
        found = _call(builder, f"masked.load.{_NAME[kind]}.p0", kind, arguments)
    if kind is _FLOATS:
        return found
    return builder.bitcast(_shift(builder.shl, builder.zext(found, _register_of(_INT))), _FLOATS)


def _store(builder: Any, kind: ir.VectorType, value: Any, row: Any, first: Any, mask: Any) -> None:
    place = _place(builder, kind, row, first)
    if mask is None:
        builder.store(value, place, align=_SIZE[kind])
    else:
        arguments = value, place, _INT(_SIZE[kind]), mask
        _call(builder, f"masked.store.{_NAME[kind]}.p0", ir.VoidType(), arguments)


def _place(builder: Any, kind: ir.VectorType, row: Any, first: Any) -> Any:
    return builder.inttoptr(builder.add(row, builder.mul(first, _ADDRESS(_SIZE[kind]))), kind.as_pointer())


def _number(builder: Any, row: Any, index: Any) -> Any:
    """Return where the float `index` of a row is."""
    return builder.inttoptr(builder.add(row, builder.mul(index, _ADDRESS(4))), _FLOAT.as_pointer())


def _nothing(builder: Any) -> Any:
    """Return where a sum is kept that begins at 0: in a register, when all is done."""
    return cgutils.alloca_once_value(builder, _constant(_FLOAT, 0.0))


def _add_product(builder: Any, total: Any, left: Any, right: Any) -> None:
    product = builder.fmul(left, right, flags=FREEDOMS)
    builder.store(builder.fadd(builder.load(total), product, flags=FREEDOMS), total)


def _sum(builder: Any, register: Any) -> Any:
    return _call(builder, "vector.reduce.fadd.v16f32", _FLOAT, (_FLOAT(0.0), register), fastmath=FREEDOMS)


def _shift(operation: Any, register: Any) -> Any:
    """Return a register with its numbers moved by half their bits."""
    return operation(register, _constant(_INT, 16))


def _constant(kind: ir.Type, number: float) -> ir.Constant:
    return ir.Constant(_register_of(kind), [number] * _WIDTH)


def _spread(builder: Any, number: Any, kind: ir.VectorType) -> Any:
    """Return a register of `kind` with `number` in every place."""
    nowhere = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nowhere, number, _INT(0))
    return builder.shuffle_vector(first, nowhere, _constant(_INT, 0))


def _call(builder: Any, name: str, result: ir.Type, arguments: Any, **more: Any) -> Any:
    """Call a function of the compiler's own."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}"), arguments, **more)
