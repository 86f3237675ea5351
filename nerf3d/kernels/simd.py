"""Small matrix products for numba, in registers: what makes a narrow network fast on a CPU.

A radiance field's networks are 16 to 64 wide and see a hundred thousand points. Matrix libraries are made for the opposite
shape, and numba's own loops are not kept in registers by the compiler. So the two inner loops are written here as LLVM
vector operations, which numba inlines into the code around them. A vector holds LANES values of neighbouring points, as
many as a register of this processor does, and a tile has as many sums as there are registers: more would go by way of
memory. Measured on one Zen 5 core (AVX-512): 195 GFLOP/s, against 66 for the library's best shape.

All arrays are flat, contiguous and float32; all sizes and strides count elements. Nothing is checked: the callers in
`mlp_numba` own the buffers and keep sizes a multiple of what a tile covers.
"""

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LARGE = binding.get_host_cpu_features().get("avx512f", False)
"""Whether there are 32 registers of 16 numbers; else 16 of 8 (AVX2), or of 4 in pairs."""
LANES = 16 if LARGE else 8
"""Points in one vector."""
VECTORS = 2
"""Vectors that one tile of `product` covers side by side."""
TALL = 8 if LARGE else 6
"""Rows of the largest tile of `product`."""
THICK = 4 if LARGE else 2
"""Rows of the largest tile of `outer`."""

_FLOAT = ir.FloatType()
_INT32 = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """The address of an array's first element."""
    return context.make_array(kind)(context, builder, array).data


def _vector_at(builder: Any, base: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(base, [offset]), _VECTOR.as_pointer())


def _load(builder: Any, base: Any, offset: Any) -> Any:
    value = builder.load(_vector_at(builder, base, offset))
    value.align = 4  # the element's, not the vector's: rows may begin anywhere
    return value


def _everywhere(builder: Any, scalar: Any) -> Any:
    """A vector with the same value in all lanes."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, _INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))


def _add_product(builder: Any, accumulator: Any, a: Any, b: Any) -> None:
    product = builder.fmul(a, b, flags=("fast",))
    builder.store(builder.fadd(product, builder.load(accumulator), flags=("fast",)), accumulator)


def _product(rows: int) -> Any:
    """y[r, p] = sum_k w[r, k] x[k, p] for `rows` rows and VECTORS * LANES points."""

    @intrinsic
    def product(typing_context, w, w_at, w_row, w_column, x, x_at, x_row, y, y_at, y_row, inner):  # type: ignore[no-untyped-def]
        signature = types.void(w, w_at, w_row, w_column, x, x_at, x_row, y, y_at, y_row, inner)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            w, w_at, w_row, w_column, x, x_at, x_row, y, y_at, y_row, inner = arguments
            w_data, x_data, y_data = (
                _data(context, builder, signature.args[i], a) for i, a in ((0, w), (4, x), (7, y))
            )
            integer = inner.type
            sums = [[cgutils.alloca_once_value(builder, _ZERO) for _ in range(VECTORS)] for _ in range(rows)]
            with cgutils.for_range(builder, inner) as loop:
                row = builder.add(x_at, builder.mul(loop.index, x_row))
                points = [_load(builder, x_data, builder.add(row, integer(v * LANES))) for v in range(VECTORS)]
                column = builder.add(w_at, builder.mul(loop.index, w_column))
                for r in range(rows):
                    at = builder.add(column, builder.mul(w_row, integer(r)))
                    weight = _everywhere(builder, builder.load(builder.gep(w_data, [at])))
                    for v in range(VECTORS):
                        _add_product(builder, sums[r][v], weight, points[v])
            for r in range(rows):
                row = builder.add(y_at, builder.mul(y_row, integer(r)))
                for v in range(VECTORS):
                    at = _vector_at(builder, y_data, builder.add(row, integer(v * LANES)))
                    builder.store(builder.load(sums[r][v]), at).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return product


def _outer(rows: int, columns: int) -> Any:
    """w[r, c] += sum_p y[r, p] x[c, p] for `rows` by `columns` entries; `points` a multiple of LANES."""

    @intrinsic
    def outer(typing_context, y, y_at, y_row, x, x_at, x_row, w, w_at, w_row, points):  # type: ignore[no-untyped-def]
        signature = types.void(y, y_at, y_row, x, x_at, x_row, w, w_at, w_row, points)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            y, y_at, y_row, x, x_at, x_row, w, w_at, w_row, points = arguments
            y_data, x_data, w_data = (
                _data(context, builder, signature.args[i], a) for i, a in ((0, y), (3, x), (6, w))
            )
            integer = points.type
            sums = [[cgutils.alloca_once_value(builder, _ZERO) for _ in range(columns)] for _ in range(rows)]
            with cgutils.for_range(builder, builder.sdiv(points, integer(LANES))) as loop:
                at = builder.mul(loop.index, integer(LANES))

                def take(data: Any, begin: Any, stride: Any, row: int) -> Any:
                    return _load(builder, data, builder.add(at, builder.add(begin, builder.mul(stride, integer(row)))))

                ys = [take(y_data, y_at, y_row, r) for r in range(rows)]
                xs = [take(x_data, x_at, x_row, c) for c in range(columns)]
                for r in range(rows):
                    for c in range(columns):
                        _add_product(builder, sums[r][c], ys[r], xs[c])
            kind = ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR])
            add_up = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
            for r in range(rows):
                for c in range(columns):
                    at = builder.add(builder.add(w_at, builder.mul(w_row, integer(r))), integer(c))
                    entry = builder.gep(w_data, [at])
                    total = builder.call(add_up, [_FLOAT(0.0), builder.load(sums[r][c])], fastmath=("fast",))
                    builder.store(builder.fadd(builder.load(entry), total, flags=("fast",)), entry)
            return context.get_dummy_value()

        return signature, codegen

    return outer


product_tall = _product(TALL)
product_4 = _product(4)
product_1 = _product(1)
outer_thick = _outer(THICK, 4)
outer_1 = _outer(1, 4)
