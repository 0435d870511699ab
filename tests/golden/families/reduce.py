"""Reductions, argmax/argmin and cumulative_sum."""

import itertools
import math

import numpy as np

from cases import op_case
from reference import (
    DTYPES,
    FLOATS,
    INF,
    INTS,
    NAN,
    SMALL_FLOATS,
    SMALL_INTS,
    Random,
    Tensor,
    from_array,
    int_range,
    is_float,
    is_signed,
    size_of,
    specials,
    to_aggregate,
)

OPS = ["sum", "product", "reduce_max", "reduce_min", "all", "any"]
AXES = [
    ((), None),
    ((5,), None),
    ((5,), [0]),
    ((2, 3), None),
    ((2, 3), [0]),
    ((2, 3), [1]),
    ((2, 3), [-1]),
    ((2, 3), [0, 1]),
    ((2, 3), []),
    ((2, 3, 4), [1]),
    ((2, 3, 4), [0, 2]),
    ((2, 3, 4), [2, 0]),
    ((2, 1, 3, 2, 2), [1, 3]),
    ((1,), [0]),
]


def fold(op, values):
    if op == "sum":
        return math.fsum(values) if any(isinstance(v, float) for v in values) else sum(values)
    if op == "product":
        return math.prod(values)
    if op == "all":
        return int(all(v != 0 for v in values))
    if op == "any":
        return int(any(v != 0 for v in values))
    if any(v != v for v in values):
        return NAN
    return max(values) if op == "reduce_max" else min(values)


def result_type(op, dtype):
    if op in ("all", "any"):
        return "u8"
    return to_aggregate(dtype) if op in ("sum", "product") else dtype


def reduce(op, t, axes=None, keep=False):
    rank = len(t.shape)
    dtype = result_type(op, t.dtype)
    if axes == []:
        # As in Nx, a reduction without axes is a cast, also for all and any.
        return Tensor(dtype, t.shape, [int(v) if op in ("all", "any") else v for v in t.values])
    where = list(range(rank)) if axes is None else sorted(a % rank for a in axes)
    rest = [i for i in range(rank) if i not in where]
    rows = np.transpose(t.array(), rest + where).reshape(
        size_of([t.shape[i] for i in rest]), size_of([t.shape[i] for i in where])
    )
    shape = (
        [1 if i in where else d for i, d in enumerate(t.shape)]
        if keep
        else [t.shape[i] for i in rest]
    )
    return Tensor(dtype, shape, [fold(op, list(row)) for row in rows])


def attrs_of(axes, keep):
    attrs = {} if axes is None else {"axes": axes}
    return attrs | ({"keep_axes": True} if keep else {})


def arg(op, t, axis=None, tie="low", keep=False, dtype="s32"):
    """As in Nx: the first of equal values, or the last with "high"; always the last NaN."""

    def find(values):
        best = at = None
        for i, x in enumerate(values):
            better = at is None or x != x or (x > best if op == "argmax" else x < best)
            if better or tie == "high" and x == best:
                best, at = x, i
        return at

    if axis is None:
        return Tensor(dtype, (), [find(t.values)])
    axis %= len(t.shape)
    out = np.apply_along_axis(lambda row: np.array(find(list(row)), dtype=object), axis, t.array())
    shape = (
        [1 if i == axis else d for i, d in enumerate(t.shape)]
        if keep
        else [d for i, d in enumerate(t.shape) if i != axis]
    )
    return Tensor(dtype, shape, np.asarray(out, dtype=object).reshape(-1).tolist())


def reduction_cases():
    for op in OPS:
        for dtype in DTYPES:
            for shape, axes in AXES if dtype in ("f32", "s32") else AXES[1:6] + AXES[-4:-2]:
                for keep in (False, True) if dtype == "f32" or len(shape) == 3 else (False,):
                    t = Random(f"{op} {dtype} {shape}").small(dtype, shape, -2, 3)
                    if op in ("all", "any") and axes == []:
                        t = Tensor(dtype, shape, [v != 0 for v in t.values])
                    yield op_case(
                        f"{op}/{dtype}/{shape}{axes}{keep}",
                        op,
                        [t],
                        reduce(op, t, axes, keep),
                        attrs_of(axes, keep),
                    )
        for dtype in INTS:
            t = Tensor(dtype, (len(specials(dtype)),), specials(dtype))
            yield op_case(f"{op}/special/{dtype}", op, [t], reduce(op, t))
        for dtype in FLOATS:
            for i, values in enumerate(
                [
                    [1, NAN, 2],
                    [NAN, 1, 2],
                    [1, 2, NAN],
                    [INF, 1, 2],
                    [-INF, 1, 2],
                    [INF, 1, -INF],
                    [NAN, INF, 3],
                    [-INF, -INF, -INF],
                ]
            ):
                t = Tensor(dtype, (3,), values)
                values = t.values
                out = (
                    reduce(op, t)
                    if op != "sum"
                    else Tensor(dtype, (), [values[0] + values[1] + values[2]])
                )
                yield op_case(f"{op}/special/{dtype}/{i}", op, [t], out)
                two = Tensor(dtype, (3, 2), [v for v in values for _ in (0, 1)])
                out = Tensor(out.dtype, (2,), out.values * 2)
                yield op_case(f"{op}/special columns/{dtype}/{i}", op, [two], out, {"axes": [0]})
    for op, value in [("sum", 0), ("product", 1), ("all", 1), ("any", 0)]:
        for dtype in DTYPES:
            t = Tensor(dtype, (2, 0), [])
            out = result_type(op, dtype)
            yield op_case(f"{op}/empty/{dtype}", op, [t], Tensor(out, (), [value]))
            yield op_case(
                f"{op}/empty row/{dtype}", op, [t], Tensor(out, (2,), [value] * 2), {"axes": [1]}
            )
            yield op_case(f"{op}/empty kept/{dtype}", op, [t], Tensor(out, (0,), []), {"axes": [0]})
    for op, end, infinity in [("reduce_max", 0, -INF), ("reduce_min", 1, INF)]:
        for dtype in INTS + SMALL_INTS + FLOATS + SMALL_FLOATS:
            wide = dtype if dtype not in SMALL_INTS else "s8" if is_signed(dtype) else "u8"
            value = infinity if is_float(dtype) else int_range(wide)[end]
            t = Tensor(dtype, (2, 0), [])
            yield op_case(f"{op}/empty/{dtype}", op, [t], Tensor(dtype, (), [value]))
            yield op_case(
                f"{op}/empty row/{dtype}", op, [t], Tensor(dtype, (2,), [value] * 2), {"axes": [1]}
            )
    for dtype in FLOATS:
        for shape, axes in [((1000,), None), ((40, 13), [0]), ((13, 40), [1]), ((5, 9, 10), [1])]:
            t = Random(f"long {dtype} {shape}{axes}").wide(dtype, shape)
            scale = max(sum(abs(v) for v in t.values), 1)
            epsilon = 2.0 ** (-24 if dtype == "f32" else -53)
            yield op_case(
                f"sum/random/{dtype}/{shape}{axes}",
                "sum",
                [t],
                reduce("sum", t, axes),
                attrs_of(axes, False),
                ulp=1,
                abs=scale * epsilon * 32,
            )
            for op in ("reduce_max", "reduce_min"):
                yield op_case(
                    f"{op}/random/{dtype}/{shape}{axes}",
                    op,
                    [t],
                    reduce(op, t, axes),
                    attrs_of(axes, False),
                )
        t = Random(f"product {dtype}").wide(dtype, (20,))
        yield op_case(f"product/random/{dtype}", "product", [t], reduce("product", t), ulp=40)
    for dtype in INTS:
        for shape, axes in [((131,), None), ((37, 3), [0]), ((3, 37), [1])]:
            t = Random(f"long {dtype} {shape}{axes}").wide(dtype, shape)
            for op in OPS[:4]:
                yield op_case(
                    f"{op}/random/{dtype}/{shape}{axes}",
                    op,
                    [t],
                    reduce(op, t, axes),
                    attrs_of(axes, False),
                )


def arg_cases():
    for op in ("argmax", "argmin"):
        for dtype in DTYPES:
            for shape, axis in [
                ((7,), 0),
                ((3, 4), None),
                ((3, 4), 0),
                ((3, 4), -1),
                ((2, 3, 4), 1),
                ((2, 1, 3, 1, 2), 2),
                ((1,), 0),
            ]:
                for tie in ("low", "high"):
                    t = Random(f"{op} {dtype} {shape}").small(dtype, shape, -1, 2)
                    attrs = {"tie_break": tie} | ({} if axis is None else {"axis": axis})
                    yield op_case(
                        f"{op}/{dtype}/{shape}{axis}{tie}", op, [t], arg(op, t, axis, tie), attrs
                    )
            t = Tensor(dtype, (len(specials(dtype)),), specials(dtype))
            yield op_case(f"{op}/special/{dtype}", op, [t], arg(op, t))
        for dtype in FLOATS:
            for i, values in enumerate(
                [
                    [1, NAN, 2],
                    [NAN, 3, NAN],
                    [NAN, NAN, NAN, 1, 5, 0],
                    [INF, INF, 1],
                    [-INF, 1, -INF],
                    [0.0, -0.0, 0.0],
                    [-0.0, 0.0],
                    [NAN, INF],
                    [-INF, NAN, 1, 2],
                ]
            ):
                for tie in ("low", "high"):
                    t = Tensor(dtype, (len(values),), values)
                    yield op_case(
                        f"{op}/special/{dtype}/{i}{tie}",
                        op,
                        [t],
                        arg(op, t, None, tie),
                        {"tie_break": tie},
                    )
                    yield op_case(
                        f"{op}/special axis/{dtype}/{i}{tie}",
                        op,
                        [t],
                        arg(op, t, 0, tie),
                        {"tie_break": tie, "axis": 0},
                    )
        t = Random(op).small("f32", (3, 4))
        yield op_case(
            f"{op}/keep", op, [t], arg(op, t, 1, keep=True), {"axis": 1, "keep_axis": True}
        )
        # As in Nx, the result without an axis is a scalar, whatever keep_axis is.
        yield op_case(f"{op}/keep nothing", op, [t], arg(op, t), {"keep_axis": True})
        yield op_case(f"{op}/scalar", op, [Tensor("s32", (), [4])], Tensor("s32", (), [0]))
        for dtype in ("s32", "s64"):
            yield op_case(
                f"{op}/type/{dtype}",
                op,
                [t],
                arg(op, t, 0, dtype=dtype),
                {"axis": 0, "type": dtype},
            )
        # Several wide rows are reduced together: each position of them has NaN and equal elements.
        for dtype in ("u8", "s64", "f32"):
            values = Random(f"{op} wide {dtype}").small(dtype, (9, 300), -1, 2).values
            for row in range(9) if dtype == "f32" else ():
                values[row * 300 + row] = values[row * 300 + 20 + row] = NAN
                values[(row + 4) % 9 * 300 + row] = NAN
            t = Tensor(dtype, (9, 300), values)
            for tie in ("low", "high"):
                yield op_case(
                    f"{op}/wide/{dtype}/{tie}",
                    op,
                    [t],
                    arg(op, t, 0, tie),
                    {"tie_break": tie, "axis": 0},
                )
        t = Random(f"{op} long").wide("f32", (5000,))
        yield op_case(f"{op}/long", op, [t], arg(op, t))


COMBINE = {
    "cumulative_sum": lambda a, b: a + b,
    "cumulative_product": lambda a, b: a * b,
    "cumulative_min": lambda a, b: a if a != a or a < b else b,
    "cumulative_max": lambda a, b: a if a != a or a > b else b,
}


def cumulative(op, t, axis=0, reverse=False):
    axis %= len(t.shape)
    moved = np.moveaxis(t.array(), axis, -1).copy()
    for at in np.ndindex(*moved.shape[:-1]):
        line = list(moved[at])
        line = line[::-1] if reverse else line
        line = list(itertools.accumulate(line, COMBINE[op]))
        moved[at] = line[::-1] if reverse else line
    return from_array(t.dtype, np.moveaxis(moved, -1, axis))


def cumulative_cases():
    for op in COMBINE:
        for dtype in DTYPES:
            for shape, axis in [
                ((6,), None),
                ((2, 3), None),
                ((2, 3), 1),
                ((3, 2, 2), -2),
                ((0,), 0),
                ((2, 1, 3, 1, 2), 4),
                ((1,), 0),
                ((3, 0), 0),
                ((4, 3, 5), 1),
            ]:
                for reverse in (False, True):
                    t = Random(f"cumulative {dtype} {shape}").small(dtype, shape)
                    attrs = ({} if axis is None else {"axis": axis}) | (
                        {"reverse": True} if reverse else {}
                    )
                    yield op_case(
                        f"{op}/{dtype}/{shape}{axis}{reverse}",
                        op,
                        [t],
                        cumulative(op, t, axis or 0, reverse),
                        attrs,
                    )
            if not is_float(dtype):
                # The result keeps the dtype and wraps, as in Nx's cumulative ops.
                t = Tensor(dtype, (9,), specials(dtype)[:9])
                yield op_case(f"{op}/wrap/{dtype}", op, [t], cumulative(op, t))
                # The axis is longer than the blocks of a scan; the axis may be followed by columns.
                for shape, axis in [((20011,), 0), ((2, 9000), 1), ((9000, 3), 0)]:
                    t = Random(f"{op} {dtype} {shape}").wide(dtype, shape)
                    if dtype == "u8" and op in ("cumulative_sum", "cumulative_max"):
                        yield op_case(
                            f"{op}/long/{dtype}/{shape}",
                            op,
                            [t],
                            cumulative(op, t, axis, True),
                            {"axis": axis, "reverse": True},
                        )
        for dtype in FLOATS:
            t = Tensor(dtype, (5,), [1, 2, INF, 1, -INF])
            yield op_case(f"{op}/special/{dtype}", op, [t], cumulative(op, t))
            t = Tensor(dtype, (6,), [3, -1, 5, NAN, 1, 7])
            for reverse in (False, True):
                yield op_case(
                    f"{op}/nan/{dtype}{reverse}",
                    op,
                    [t],
                    cumulative(op, t, 0, reverse),
                    {"reverse": reverse},
                )
    for dtype in FLOATS:
        t = Random(f"cumulative long {dtype}").wide(dtype, (1000,))
        scale = sum(abs(v) for v in t.values) * 2.0 ** (-24 if dtype == "f32" else -53)
        exact = Tensor(dtype, t.shape, [math.fsum(t.values[: i + 1]) for i in range(1000)])
        yield op_case(
            f"cumulative_sum/random/{dtype}", "cumulative_sum", [t], exact, ulp=1, abs=scale * 32
        )


def cases():
    yield from reduction_cases()
    yield from arg_cases()
    yield from cumulative_cases()
