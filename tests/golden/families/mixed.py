"""Dtypes whose common dtype is a small float: operands are converted to f32, the result is rounded
once."""

import numpy as np

from cases import op_case
from families import conv, dot, indexed, select, window
from reference import (
    FORMATS,
    INF,
    INTS,
    NAN,
    SMALL_FLOATS,
    SMALL_INTS,
    Tensor,
    binary,
    binary_float,
    int_range,
    merge,
    merge_number,
    store,
    type_of,
)

EXACT = ["add", "subtract", "multiply", "divide", "min", "max", "remainder"]
COMPARED = ["equal", "not_equal", "greater", "less", "greater_equal", "less_equal"]
WHOLE = [
    0,
    1,
    -1,
    3,
    17,
    127,
    -128,
    255,
    257,
    449,
    2047,
    2049,
    -2051,
    65503,
    65537,
    70000,
    2**24 - 1,
]
PARTS = [
    0.0,
    1.0,
    -1.5,
    0.1,
    2.0,
    16.0,
    240.0,
    448.0,
    2048.0,
    -2048.0,
    65504.0,
    3e38,
    1e-3,
    INF,
    -INF,
    NAN,
]


def values(dtype):
    if dtype in FORMATS:
        return [store(dtype, x) for x in PARTS]
    low, high = int_range(dtype)
    return [x for x in WHOLE if low <= x <= high]


def in_f32(dtype, x):
    """The result of an op that computes in f32 for the exact result x."""
    return Tensor(dtype, (), [float(np.float32(x))]).values[0]


def operands(a, b):
    """Each third pair of values: each value is in several pairs."""
    every = [(x, y) for x in values(a) for y in values(b)]
    xs, ys = zip(*every[::3])
    return list(xs), list(ys)


def holds(dtype, *numbers):
    return dtype in FORMATS or all(int_range(dtype)[0] <= x <= int_range(dtype)[1] for x in numbers)


def both(op, x, y):
    if op in COMPARED:
        return binary(op, x, y)
    dtype = type_of(x, y)
    assert dtype in FORMATS
    return Tensor(
        dtype, x.shape, [in_f32(dtype, binary_float(op, a, b)) for a, b in zip(x.values, y.values)]
    )


def meetings():
    """Pairs of different dtypes whose common dtype is a small float, in both orders."""
    for small in SMALL_FLOATS:
        for other in INTS + SMALL_INTS + SMALL_FLOATS:
            if other != small:
                yield small, other
                if other not in FORMATS:
                    yield other, small


def elementwise_cases():
    for a, b in meetings():
        xs, ys = operands(a, b)
        # The sign of a zero is not defined.
        plain = [(x, y) for x, y in zip(xs, ys) if x != 0 or y != 0]
        for op in EXACT + COMPARED if a in FORMATS else ["subtract", "divide", "remainder", "less"]:
            chosen = list(zip(*plain)) if op in ("min", "max") else (xs, ys)
            x, y = Tensor(a, (len(chosen[0]),), chosen[0]), Tensor(b, (len(chosen[1]),), chosen[1])
            yield op_case(f"mixed/{op}/{a},{b}", op, [x, y], both(op, x, y))
        for op in ("pow", "atan2"):
            if holds(a, 3) and holds(b, 2):
                x, y = Tensor(a, (4,), [1, 2, 0, 3]), Tensor(b, (4,), [1, 2, 1, 2])
                yield op_case(f"mixed/{op}/{a},{b}", op, [x, y], both(op, x, y), ulp=2)
    for dtype in SMALL_FLOATS:
        x = Tensor(dtype, (5,), [2048.0, 1.0, 0.1, 16.0, -448.0])
        for number in [2049, 257, 17, 0.1, 70000]:
            to = merge_number(dtype, number)
            held = number if isinstance(number, int) else float(np.float32(number))
            for op in EXACT[:3] + COMPARED[:3]:
                expected = (
                    [int(v) for v in (predicate(op, a, held) for a in x.values)]
                    if op in COMPARED
                    else [in_f32(to, binary_float(op, a, held)) for a in x.values]
                )
                out = Tensor("u8" if op in COMPARED else to, x.shape, expected)
                yield op_case(f"mixed/literal/{op}/{dtype},{number}", op, [x, number], out)


def predicate(op, a, b):
    return {"equal": a == b, "not_equal": a != b, "greater": a > b}[op]


def chosen_cases():
    """clip compares in f32; select and ops that move round once."""
    for a, b in meetings():
        dtype = merge(a, b)
        xs = [x for x in values(a) if x == x]
        x = Tensor(a, (len(xs),), xs)
        for low, high in [(2, 3), (1, 2049), (-2049, 449), (0, 65537)]:
            if not holds(b, low, high):
                continue
            limits = [Tensor(b, (), [low]), Tensor(b, (), [high])]
            low_, high_ = limits[0].values[0], limits[1].values[0]
            out = Tensor(dtype, x.shape, [in_f32(dtype, min(max(v, low_), high_)) for v in xs])
            yield op_case(f"mixed/clip/{a},{b}/{low},{high}", "clip", [x] + limits, out)
        y = Tensor(b, (len(xs),), (values(b) * 20)[: len(xs)])
        p = Tensor("u8", x.shape, [i % 2 for i in range(len(xs))])
        yield op_case(f"mixed/select/{a},{b}", "select", [p, x, y], select.select(p, x, y))
        joined = Tensor(
            dtype,
            (2 * len(xs),),
            [
                v if i < len(xs) else w
                for i, (v, w) in enumerate(zip(x.values + x.values, x.values + y.values))
            ],
        )
        yield op_case(f"mixed/concatenate/{a},{b}", "concatenate", [x, y], joined, {"axis": 0})
        into = Tensor(dtype, x.shape, x.values[:1] + y.values[:1] + x.values[2:])
        part = Tensor(b, (1,), y.values[:1])
        yield op_case(f"mixed/put_slice/{a},{b}", "put_slice", [x, part, 1], into)
        i = Tensor("s32", (2, 1), [0, 1])
        two = Tensor(b, (2,), y.values[:2])
        put = Tensor(dtype, x.shape, y.values[:2] + x.values[2:])
        yield op_case(f"mixed/indexed_put/{a},{b}", "indexed_put", [x, i, two], put)


def added_cases():
    """The updates of one place are summed before the sum is rounded."""
    for a, b in list(meetings()) + [(t, t) for t in SMALL_FLOATS]:
        dtype = merge(a, b)
        for name, start, added in [
            ("large", 2048, [1, 2049, 1, 1]),
            ("ones", 256, [1, 1, 1, 1]),
            ("few", 16, [1, 1, 0, 3]),
            ("small", 1, [1, 0, 1, 1]),
        ]:
            if not holds(a, start) or not holds(b, *added):
                continue
            t = Tensor(a, (3,), [start, start, 1])
            i = Tensor("s64", (4, 1), [0, 1, 0, 0])
            u = Tensor(b, (4,), added)
            yield op_case(
                f"mixed/indexed_add/{name}/{a},{b}",
                "indexed_add",
                [t, i, u],
                indexed.indexed("indexed_add", t, i, u),
            )
            rows = Tensor(a, (2, 2), [start, 1, start, 1])
            many = Tensor(b, (4, 2), [v for x in added for v in (x, 1)])
            at = Tensor("s64", (4, 1), [1, 1, 0, 1])
            yield op_case(
                f"mixed/indexed_add/rows/{name}/{a},{b}",
                "indexed_add",
                [rows, at, many],
                indexed.indexed("indexed_add", rows, at, many),
            )


def factors(dtype):
    for numbers in (
        [2049, -2048, 17, 3, 1, 257],
        [2049, 2048, 17, 3, 1, 257],
        [100, 99, 17, 3, 1, 7],
        [1, 0, 1, 1, 0, 1],
    ):
        if dtype not in FORMATS and holds(dtype, *numbers):
            return numbers
    return [0.5, 1, 2, 1, -1, 1]


def product_cases():
    """Sums that are exact in f32, of factors that the small float does not represent."""
    for a, b in meetings():
        left, right = factors(a), factors(b)[::-1]
        x, y = Tensor(a, (2, 3), left), Tensor(b, (3, 2), right)
        yield op_case(f"mixed/dot/{a},{b}", "dot", [x, y], dot.dot(x, y))
        v, w = Tensor(a, (3,), left[:3]), Tensor(b, (3,), right[:3])
        yield op_case(f"mixed/dot/vectors/{a},{b}", "dot", [v, w], dot.dot(v, w))
        s, k = Tensor(a, (1, 1, 6), left), Tensor(b, (1, 1, 2), right[:2])
        yield op_case(f"mixed/conv/{a},{b}", "conv", [s, k], conv.conv(s, k))
    for dtype in ("f8", "f16", "bf16"):
        x = Tensor(dtype, (1, 3), [1.0, 2.0, 4.0])
        yield op_case(
            f"mixed/dot/literal/{dtype}",
            "dot",
            [x, 2049],
            Tensor(dtype, (1, 3), [in_f32(dtype, v * 2049) for v in x.values]),
        )


def scatter_cases():
    config = [[2], [2], [(0, 1)]]
    for a, b in meetings():
        if not holds(a, 2049) or not holds(b, 2049):
            continue
        for op in ("window_scatter_max", "window_scatter_min"):
            t = Tensor(a, (5,), [2048, 2049, 1, 3, 2])
            source, init = Tensor(b, (3,), [1, 2, 3]), Tensor(a, (), [2049])
            yield op_case(
                f"mixed/{op}/{a},{b}/source",
                op,
                [t, source, init],
                window.scatter(op, t, source, init, config),
                window.attrs_of(*config, None),
            )
            source, init = Tensor(a, (3,), [1, 2049, 3]), Tensor(b, (), [2])
            yield op_case(
                f"mixed/{op}/{a},{b}/init",
                op,
                [t, source, init],
                window.scatter(op, t, source, init, config),
                window.attrs_of(*config, None),
            )


def cases():
    yield from elementwise_cases()
    yield from chosen_cases()
    yield from added_cases()
    yield from product_cases()
    yield from scatter_cases()
