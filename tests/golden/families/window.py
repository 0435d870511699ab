"""pad, stack and windows: window_sum/product/max/min, window_scatter_max/min."""

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
    Random,
    Tensor,
    from_array,
    is_float,
    merge,
    size_of,
)

OPS = ["window_sum", "window_product", "window_max", "window_min"]
SMALL = ["u2", "u4", "s2", "s4", "f8", "f8_e4m3fn", "f16", "bf16"]

# shape, window, strides, padding, dilations
WINDOWS = [
    ((), (), None, None, None),
    ((7,), (1,), None, None, None),
    ((7,), (3,), None, None, None),
    ((7,), (7,), None, None, None),
    ((9,), (2,), [3], None, None),
    ((9,), (3,), [2], [(1, 2)], None),
    ((9,), (3,), None, None, [3]),
    ((9,), (3,), [2], [(3, 0)], [2]),
    ((9,), (2,), None, [(-1, -2)], None),
    ((4, 5), (2, 3), None, None, None),
    ((4, 5), (2, 2), [2, 1], [(1, 0), (0, 1)], None),
    ((4, 5), (1, 3), [1, 2], None, None),
    ((4, 5), (3, 1), [2, 2], [(1, 1), (0, 0)], [1, 1]),
    ((4, 5), (2, 2), [1, 1], [(2, 3), (1, 1)], [3, 2]),
    ((2, 3), (2, 2), None, [(2, 2), (0, 4)], None),
    ((2, 5, 6, 3), (1, 2, 3, 1), [1, 2, 1, 1], [(0, 0), (1, 0), (1, 1), (0, 0)], None),
    ((2, 2, 3, 2, 2), (2, 1, 2, 1, 2), None, None, None),
    ((2, 1, 3), (1, 1, 2), None, None, None),
    ((1, 1), (1, 1), [4, 4], None, None),
]
LARGE = [
    ((20, 30), (11, 17), None, None, None),
    ((200,), (100,), None, [(50, 49)], None),
    ((40, 20), (13, 7), [5, 1], [(6, 6), (3, 3)], None),
    ((50, 9), (6, 3), [1, 2], None, [7, 2]),
    ((300, 150), (250, 140), [25, 5], None, None),
    ((9, 10, 11), (6, 7, 5), None, None, None),
    ((2, 600), (1, 31), [1, 2], None, None),
]


def attrs_of(window, strides, padding, dilations):
    attrs = {"window": list(window)}
    if strides is not None:
        attrs["strides"] = strides
    if padding is not None:
        attrs |= {
            "padding_low": [lo for lo, _ in padding],
            "padding_high": [hi for _, hi in padding],
        }
    if dilations is not None:
        attrs["window_dilations"] = dilations
    return attrs


def filled(window, strides, padding, dilations):
    rank = len(window)
    return strides or [1] * rank, padding or [(0, 0)] * rank, dilations or [1] * rank


def out_shape(shape, window, strides, padding, dilations):
    return tuple(
        (n + lo + hi - (w - 1) * d - 1) // s + 1
        for n, w, s, (lo, hi), d in zip(shape, window, strides, padding, dilations)
    )


def elements(shape, window, strides, padding, dilations):
    """For each window, the positions of its elements, None in the padding."""
    strides, padding, dilations = filled(window, strides, padding, dilations)
    out = out_shape(shape, window, strides, padding, dilations)
    taps = list(itertools.product(*map(range, window)))
    for o in itertools.product(*map(range, out)):
        found = []
        for tap in taps:
            at = [
                i * s + w * d - lo
                for i, s, w, d, (lo, _) in zip(o, strides, tap, dilations, padding)
            ]
            found.append(tuple(at) if all(0 <= i < n for i, n in zip(at, shape)) else None)
        yield found


def fold(op, values, dtype):
    if op == "window_sum":
        return math.fsum(values) if is_float(dtype) else sum(values)
    if op == "window_product":
        return math.prod(values)
    if any(v != v for v in values):
        return NAN
    if values:
        return max(values) if op == "window_max" else min(values)
    if is_float(dtype):
        return -INF if op == "window_max" else INF
    bits = int(dtype[1:])
    low, high = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return low if op == "window_max" else high


def window(op, t, *config):
    array = t.array()
    out = [
        fold(op, [array[at] for at in found if at is not None], t.dtype)
        for found in elements(t.shape, *config)
    ]
    return Tensor(t.dtype, out_shape(t.shape, config[0], *filled(*config)), out)


def aggregate_cases():
    for op in OPS:
        for dtype in DTYPES:
            for i, (shape, *config) in enumerate(WINDOWS):
                t = Random(f"{op} {dtype} {shape} {i}").small(dtype, shape, -2, 3)
                yield op_case(
                    f"{op}/{dtype}/{i}", op, [t], window(op, t, *config), attrs_of(*config)
                )
        for i, (shape, *config) in enumerate(LARGE):
            for dtype in ("u8", "f32"):
                if op == "window_product" and is_float(dtype):
                    continue
                t = Random(f"{op} {dtype} {i} large")
                t = (
                    t.wide(dtype, shape)
                    if op != "window_sum" or not is_float(dtype)
                    else t.small(dtype, shape)
                )
                yield op_case(
                    f"{op}/large/{dtype}/{i}", op, [t], window(op, t, *config), attrs_of(*config)
                )
        for dtype in FLOATS:
            t = Tensor(dtype, (8,), [1, NAN, 2, 3, INF, -INF, 4, 5])
            expected = window(op, t, (2,), None, None, None) if op in OPS[2:] else None
            if expected:
                yield op_case(f"{op}/special/{dtype}", op, [t], expected, {"window": [2]})
        for dtype in SMALL:
            # Some windows are entirely in the padding.
            for i, (shape, *config) in enumerate(
                WINDOWS[:6]
                + [
                    ((3,), (1,), None, [(2, 2)], None),
                    ((5, 3), (2, 2), None, [(3, 0), (0, 2)], None),
                ]
            ):
                t = Random(f"{op} {dtype} {i} small").small(dtype, shape, -2, 1)
                yield op_case(
                    f"{op}/{dtype}/{i}", op, [t], window(op, t, *config), attrs_of(*config)
                )
    for dtype in FLOATS:
        t = Tensor(dtype, (6,), [1, INF, 2, -INF, 3, NAN])
        yield op_case(
            f"window_sum/special/{dtype}",
            "window_sum",
            [t],
            Tensor(dtype, (5,), [INF, INF, -INF, -INF, NAN]),
            {"window": [2]},
        )
        t = Random(f"window sum {dtype}").wide(dtype, (37, 29))
        yield op_case(
            f"window_sum/random/{dtype}",
            "window_sum",
            [t],
            window("window_sum", t, (9, 5), None, None, None),
            {"window": [9, 5]},
            ulp=1,
            abs=1e-5 if dtype == "f32" else 1e-13,
        )
    # No window reaches the padding, which is below zero: elements are compared in their own dtype.
    t = Tensor("u64", (4,), [2**63 + 5, 7, 2**64 - 1, 3])
    source, init = Tensor("s8", (2,), [10, 20]), Tensor("s8", (), [1])
    for op, values in [
        ("window_scatter_max", [11, 1, 21, 1]),
        ("window_scatter_min", [1, 11, 1, 21]),
    ]:
        yield op_case(
            f"{op}/from 2^63",
            op,
            [t, source, init],
            Tensor("s8", (4,), values),
            {"window": [2], "strides": [2]},
        )
    # The sum is rounded once: two halves of an ulp count.
    t = Tensor("f32", (3,), [1.0, 2.0**-24, 2.0**-24])
    yield op_case(
        "window_sum/rounds once",
        "window_sum",
        [t],
        Tensor("f32", (1,), [1 + 2.0**-23]),
        {"window": [3]},
    )
    for name, shape, attrs, code in [
        ("too large", (3, 4), {"window": [4, 1]}, "bad_shape"),
        ("dilated too large", (5,), {"window": [3], "window_dilations": [3]}, "bad_shape"),
        ("cut off", (5,), {"window": [2], "padding_low": [-2], "padding_high": [-2]}, "bad_shape"),
        ("window zero", (3,), {"window": [0]}, "bad_shape"),
        ("window negative", (3,), {"window": [-1]}, "bad_shape"),
        ("stride zero", (3,), {"window": [1], "strides": [0]}, "bad_shape"),
        ("dilation zero", (3,), {"window": [1], "window_dilations": [0]}, "bad_shape"),
        ("rank", (3, 4), {"window": [2]}, "bad_attr"),
        ("strides", (3,), {"window": [2], "strides": [1, 1]}, "bad_attr"),
        ("padding", (3,), {"window": [2], "padding_low": [1, 1]}, "bad_attr"),
        (
            "padding huge",
            (3,),
            {"window": [1], "padding_low": [2**62], "padding_high": [2**62]},
            "bad_shape",
        ),
        (
            "padding most",
            (3,),
            {"window": [1], "padding_low": [2**63 - 1], "padding_high": [2**63 - 1]},
            "bad_shape",
        ),
        (
            "padding least",
            (3,),
            {"window": [1], "padding_low": [-(2**63)], "padding_high": [2**63 - 1]},
            "bad_shape",
        ),
        ("window huge", (3,), {"window": [2**62], "window_dilations": [2**62]}, "bad_shape"),
        ("empty", (0,), {"window": [1]}, "bad_shape"),
        ("no window", (3,), {}, "bad_attr"),
    ]:
        for op in ("window_sum", "window_max"):
            yield op_case(
                f"{op}/bad/{name}", op, [Random("bad").small("f32", shape)], None, attrs, error=code
            )


def scatter(op, t, source, init, config):
    """As in Nx: the last of equal elements; a NaN only if it is the first element."""
    dtype = merge(source.dtype, init.dtype)
    array = t.array()
    out = np.full(t.shape, init.values[0], dtype=object)
    for found, value in zip(elements(t.shape, *config, None), source.values):
        values = [init.values[0] if at is None else array[at] for at in found]
        best = 0
        for i, v in enumerate(values):
            if v >= values[best] if op == "window_scatter_max" else v <= values[best]:
                best = i
        if found[best] is not None:
            out[found[best]] += value
    return Tensor(dtype, t.shape, out.reshape(-1).tolist())


def scatter_cases():
    for op in ("window_scatter_max", "window_scatter_min"):
        for dtype in DTYPES:
            for i, (shape, *config) in enumerate(WINDOWS):
                if config[3] is not None:
                    continue
                config = config[:3]
                t = Random(f"{op} {dtype} {i}").small(dtype, shape, -3, 3)
                strides, padding, ones = filled(*config, None)
                source = Random(f"{op} source {i}").small(
                    dtype, out_shape(shape, config[0], strides, padding, ones), -4, 9
                )
                init = Tensor(dtype, (), [i % 3])
                attrs = attrs_of(*config, None)
                yield op_case(
                    f"{op}/{dtype}/{i}",
                    op,
                    [t, source, init],
                    scatter(op, t, source, init, config),
                    attrs,
                )
        for types in [
            ("f32", "s32", "f64"),
            ("s32", "u8", "s64"),
            ("u8", "f32", "f32"),
            ("f64", "s16", "u8"),
        ]:
            t, source = Random(f"{op} mixed").small(types[0], (4, 6), 0, 5), Random("mixed").small(
                types[1], (2, 3), 0, 9
            )
            init = Tensor(types[2], (), [1])
            yield op_case(
                f"{op}/mixed/{types}",
                op,
                [t, source, init],
                scatter(op, t, source, init, ((2, 2), [2, 2], None)),
                {"window": [2, 2], "strides": [2, 2]},
            )
        for i, (shape, config) in enumerate(
            [
                ((30, 700), ((2, 3), None, None)),
                ((3, 40, 30), ((1, 4, 4), [1, 3, 2], [(0, 0), (2, 1), (1, 1)])),
                ((18000,), ((5,), [7], None)),
                ((700, 5), ((20, 2), [7, 1], [(10, 10), (0, 1)])),
            ]
        ):
            t = Random(f"{op} long {i}").small("s8", shape, -50, 50)
            strides, padding, ones = filled(*config, None)
            source = Random(f"{op} long {i}").small(
                "s8", out_shape(shape, config[0], strides, padding, ones)
            )
            init = Tensor("s8", (), [0])
            yield op_case(
                f"{op}/long/{i}",
                op,
                [t, source, init],
                scatter(op, t, source, init, config),
                attrs_of(*config, None),
            )
        t = Tensor("f32", (6,), [NAN, 1, 2, NAN, NAN, 5])
        source = Tensor("f32", (3,), [10, 20, 30])
        yield op_case(
            f"{op}/nan",
            op,
            [t, source, Tensor("f32", (), [0])],
            scatter(op, t, source, Tensor("f32", (), [0]), ((2,), [2], None)),
            {"window": [2], "strides": [2]},
        )
        yield op_case(
            f"{op}/bad/source",
            op,
            [t, Tensor("f32", (2,), [1, 2]), 0],
            None,
            {"window": [2], "strides": [2]},
            error="bad_shape",
        )
        yield op_case(
            f"{op}/bad/init",
            op,
            [t, source, source],
            None,
            {"window": [2], "strides": [2]},
            error="bad_shape",
        )
        yield op_case(
            f"{op}/bad/dilations",
            op,
            [t, source, 0],
            None,
            {"window": [2], "window_dilations": [2]},
            error="bad_attr",
        )


def pad(t, value, config):
    array = t.array()
    out = np.full(
        [n + lo + hi + max(n - 1, 0) * inner for n, (lo, hi, inner) in zip(t.shape, config)],
        value,
        dtype=object,
    )
    for at in itertools.product(*map(range, t.shape)):
        to = tuple(lo + i * (inner + 1) for i, (lo, _, inner) in zip(at, config))
        if all(0 <= i < n for i, n in zip(to, out.shape)):
            out[to] = array[at]
    return out


def pad_cases():
    for shape, config in [
        ((), []),
        ((3,), [(0, 0, 0)]),
        ((3,), [(1, 2, 0)]),
        ((3,), [(-1, 1, 0)]),
        ((3,), [(2, -2, 0)]),
        ((3,), [(-1, -1, 0)]),
        ((4,), [(0, 0, 2)]),
        ((4,), [(1, 1, 1)]),
        ((4,), [(-2, 3, 2)]),
        ((4,), [(-4, -3, 1)]),
        ((4,), [(-4, 2, 0)]),
        ((4,), [(-7, 4, 0)]),
        ((4,), [(5, -7, 0)]),
        ((1,), [(0, 0, 3)]),
        ((0,), [(2, 1, 4)]),
        ((2, 3), [(1, 0, 0), (0, 2, 0)]),
        ((2, 3), [(1, -1, 1), (-1, 1, 2)]),
        ((2, 3), [(0, 0, 0), (0, 0, 0)]),
        ((2, 0), [(1, 1, 0), (1, 1, 0)]),
        ((3, 4, 2), [(1, 1, 0), (-1, 2, 0), (0, 1, 1)]),
        ((2, 3, 2, 2, 2), [(0, 1, 0), (1, 0, 0), (0, 0, 0), (2, 0, 0), (0, 1, 0)]),
        ((2, 3), [(-2, 0, 0), (1, 1, 0)]),
        ((20, 30), [(3, 5, 0), (7, 2, 0)]),
    ]:
        for dtype in DTYPES if len(shape) < 3 else ("f32", "u8"):
            t = Random(f"pad {dtype} {shape}").small(dtype, shape, 0, 100)
            attrs = (
                {
                    name: [axis[i] for axis in config]
                    for i, name in enumerate(("low", "high", "interior"))
                }
                if config
                else {}
            )
            yield op_case(
                f"pad/{dtype}/{shape}{config}",
                "pad",
                [t, Tensor(dtype, (), [7])],
                from_array(dtype, pad(t, 7, config)),
                attrs,
            )
    t = Tensor("u8", (2,), [1, 2])
    one = {"low": [1]}
    yield op_case("pad/literal", "pad", [t, 3], Tensor("u8", (3,), [3, 1, 2]), one)
    yield op_case("pad/float literal", "pad", [t, 0.5], Tensor("f32", (3,), [0.5, 1, 2]), one)
    yield op_case(
        "pad/mixed", "pad", [t, Tensor("s16", (), [-300])], Tensor("s16", (3,), [-300, 1, 2]), one
    )
    yield op_case(
        "pad/nan", "pad", [Tensor("f32", (2,), [1, 2]), NAN], Tensor("f32", (3,), [NAN, 1, 2]), one
    )
    for name, inputs, config, code in [
        ("value", [t, t], [1, 1, 0], "bad_shape"),
        ("interior", [t, 0], [1, 1, -1], "bad_attr"),
        ("negative", [t, 0], [-2, -1, 0], "bad_shape"),
        ("huge", [t, 0], [2**63 - 1, 2**63 - 1, 0], "bad_shape"),
        ("large", [t, 0], [2**62, 2**62 - 3, 0], "bad_shape"),
        ("least", [t, 0], [-(2**63), -(2**63), 0], "bad_shape"),
        ("interior huge", [t, 0], [0, 0, 2**63 - 1], "bad_shape"),
    ]:
        yield op_case(
            f"pad/bad/{name}",
            "pad",
            inputs,
            None,
            dict(zip(("low", "high", "interior"), [[n] for n in config])),
            error=code,
        )
    for name in ("low", "high", "interior"):
        yield op_case(
            f"pad/bad/entries of {name}", "pad", [t, 0], None, {name: [1, 1]}, error="bad_attr"
        )


def stack_cases():
    for shape, count, axis in [
        ((), 3, None),
        ((), 1, 0),
        ((3,), 2, None),
        ((3,), 2, 1),
        ((3,), 2, -1),
        ((3,), 4, -2),
        ((2, 3), 3, 1),
        ((2, 3), 2, 2),
        ((2, 0), 2, 1),
        ((2, 1, 3, 2), 2, 3),
    ]:
        for dtype in ("u8", "s64", "f32", "f64"):
            parts = [Random(f"stack {shape} {i}").small(dtype, shape) for i in range(count)]
            out = np.stack([p.array() for p in parts], axis or 0)
            yield op_case(
                f"stack/{dtype}/{shape}{count}{axis}",
                "stack",
                parts,
                from_array(dtype, out),
                {} if axis is None else {"axis": axis},
            )
    yield op_case(
        "stack/mixed",
        "stack",
        [Tensor("u8", (2,), [1, 2]), Tensor("s8", (2,), [-1, 3])],
        Tensor("s16", (2, 2), [1, 2, -1, 3]),
    )
    a, b = Tensor("f32", (2,), [1, 2]), Tensor("f32", (1,), [1])
    yield op_case("stack/bad/shapes", "stack", [a, b], None, error="bad_shape")
    yield op_case(
        "stack/bad/rank", "stack", [a, Tensor("f32", (1, 2), [1, 2])], None, error="bad_shape"
    )
    yield op_case("stack/bad/axis", "stack", [a, a], None, {"axis": 2}, error="bad_axis")
    yield op_case("stack/bad/none", "stack", [], None, error="bad_program")


def cases():
    yield from aggregate_cases()
    yield from scatter_cases()
    yield from pad_cases()
    yield from stack_cases()
