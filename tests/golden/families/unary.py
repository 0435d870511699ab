"""Unary elementwise ops."""

import math

from cases import catalogue, op_case
from reference import DTYPES, FLOATS, INF, INTS, NAN, Random, Tensor, bitcast, bits, specials, unary

# The catalogue tells which functions of real numbers are rounded correctly.
OPS = [op for op in catalogue() if op["family"] == "unary" and op["ulp"] is not None]
EXACT = [op["name"] for op in OPS if op["ulp"] == 0]
MATH = [op["name"] for op in OPS if op["ulp"] > 0]
BOUNDED = ["asin", "acos", "atanh", "erf_inv"]
BIT_COUNTS = ["population_count", "count_leading_zeros"]
KINDS = ["is_nan", "is_infinity"]
FLOAT_VALUES = {
    "exp": [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        10.0,
        -10.0,
        88.0,
        -87.0,
        -95.0,
        -103.0,
        89.5,
        -110.0,
        1e-8,
        -1e-8,
        700.0,
        -700.0,
        -740.0,
        710.5,
        NAN,
        INF,
        -INF,
    ],
    "log": [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.0,
        10.0,
        1e-3,
        1e30,
        1e-30,
        1e-40,
        1.0000001,
        0.9999999,
        math.e,
        NAN,
        INF,
        -INF,
        1e300,
        5e-324,
    ],
    "sin": [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        math.pi,
        -math.pi / 2,
        3.0,
        100.0,
        -1e4,
        1e6,
        1e-6,
        1e-20,
        1e22,
        3e38,
        -123456.789,
        NAN,
        INF,
        -INF,
    ],
    "tanh": [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1e-4,
        1e-10,
        -1e-30,
        3.0,
        -5.0,
        9.0,
        20.0,
        -20.0,
        100.0,
        NAN,
        INF,
        -INF,
    ],
    "round": [
        0.0,
        0.4,
        0.5,
        0.6,
        1.5,
        2.5,
        -0.5,
        -0.6,
        -1.5,
        -2.5,
        1e10,
        -1e10,
        8388609.0,
        8388607.5,
        0.49999997,
        0.49999999999999994,
        NAN,
        INF,
        -INF,
        4503599627370497.0,
    ],
}
ODD = [0.0, -0.0, 1e-30, -1e-10, 1e-4, 0.3, -0.7, 0.99, 1.0, -1.0, NAN]
UNBOUNDED = ODD + [2.5, -10.0, 60.0, -100.0, 1e6, -1e30, INF, -INF]
FLOAT_VALUES |= {
    "expm1": ODD + [5.0, -20.0, 88.0, 90.0, 709.0, 710.0, -800.0, INF, -INF],
    "log1p": ODD + [-1.5, 1e10, 3e38, 1e305, INF, -INF],
    "sigmoid": ODD + [5.0, -5.0, 30.0, -30.0, -80.0, 100.0, 1000.0, -1000.0, INF, -INF],
    "tan": UNBOUNDED,
    "atan": UNBOUNDED,
    "cbrt": UNBOUNDED + [27.0, -8.0, 1e-40, 1e300],
    "asin": ODD + [1.5, -2.0, INF],
    "acos": ODD + [1.5, -2.0, INF],
    "sinh": ODD + [5.0, -20.0, 88.9, -89.3, 95.0, 709.9, 710.3, -720.0, INF, -INF],
    "asinh": UNBOUNDED + [1e20, -3e38, 1e200, -1e308],
    "acosh": [1.0, 1.0000001, 1.5, 2.0, 100.0, 1e20, 3e38, 1e200, 0.5, -1.0, NAN, INF, -INF],
    "atanh": ODD + [0.9999999, -0.999999999999, 1.5, -INF],
    "rsqrt": [0.0, 1.0, 2.0, 4.0, 0.1, 1e-30, 1e30, -1.0, NAN, INF, -INF],
    "erf": ODD + [0.92, 0.93, 2.0, -3.0, 3.9, 4.5, -6.0, 1e10, INF, -INF],
    "erfc": ODD + [2.0, -3.0, 5.0, 9.0, 9.1, 10.0, 15.0, 26.0, 26.3, 30.0, -6.0, INF, -INF],
    "erf_inv": ODD + [1e-8, 0.5, -0.84, 0.86, 0.999999, -0.9999999999, 1.5, -2.0, INF],
}
FLOAT_VALUES["cosh"] = FLOAT_VALUES["sinh"]
FLOAT_VALUES["cos"] = FLOAT_VALUES["sin"]
FLOAT_VALUES["floor"] = FLOAT_VALUES["ceil"] = FLOAT_VALUES["round"] + [-0.0, -0.3, 1e300, -1e-300]
FLOAT_VALUES["sqrt"] = [
    0.0,
    -0.0,
    1.0,
    2.0,
    4.0,
    1e-40,
    1e30,
    -1.0,
    -1e-300,
    5e-324,
    NAN,
    INF,
    -INF,
    0.1,
]


def values_of(op, dtype):
    if dtype in FLOATS:
        return FLOAT_VALUES.get(op, specials(dtype))
    if op in MATH + ["sqrt"]:
        # Integers that f32 represents exactly, whatever the order of conversions.
        few = [0, 1] if op in BOUNDED else [0, 1, 2, 3, 10, 70]
        few = few[1:] if op == "acosh" else few
        return few + ([-1] if dtype[0] == "s" else [])
    return specials(dtype)


def random_values(op, dtype):
    rnd = Random(f"{op} {dtype}")
    t = rnd.wide(dtype, (301,))
    if op in BOUNDED:
        t = Tensor(dtype, t.shape, [math.tanh(x / 3) for x in t.values])
    if op == "acosh":
        t = Tensor(dtype, t.shape, [1 + abs(x) for x in t.values])
    if op in ("log", "sqrt", "rsqrt", "log1p"):
        t = Tensor(dtype, t.shape, [abs(x) for x in t.values])
    if op == "round":
        t = Tensor(dtype, t.shape, [x if not -0.5 < x < 0 else x - 1 for x in t.values])
    return t


def bitcast_cases():
    for a in DTYPES:
        for b in DTYPES:
            if bits(a) != bits(b):
                continue
            # A NaN's payload may change on the way through Python.
            values = [v for v in specials(a) if v == v]
            t = Tensor(a, (len(values),), values)
            out = bitcast(t, b)
            keep = [i for i, v in enumerate(out.values) if v == v]
            t = Tensor(a, (len(keep),), [values[i] for i in keep])
            yield op_case(f"bitcast/{a},{b}", "bitcast", [t], bitcast(t, b), {"type": b})
    for shape in [(), (0,), (2, 0), (2, 1, 3)]:
        t = Random(f"bitcast {shape}").small("f32", shape)
        yield op_case(f"bitcast/shape/{shape}", "bitcast", [t], bitcast(t, "u32"), {"type": "u32"})
    t = Random("bitcast width").small("f32", (4,))
    yield op_case("bitcast/width", "bitcast", [t], attrs={"type": "s64"}, error="bad_dtype")


def cases():
    yield from bitcast_cases()
    for op in BIT_COUNTS:
        t = Random(op).small("f32", (3,))
        yield op_case(f"{op}/float", op, [t], error="bad_dtype")
    for op in EXACT + MATH + KINDS + BIT_COUNTS + ["bitwise_not", "logical_not"]:
        ulp = 2 if op in MATH else 0
        integers = op in BIT_COUNTS + ["bitwise_not"]
        for dtype in INTS if integers else DTYPES:
            t = Tensor(dtype, (len(values_of(op, dtype)),), values_of(op, dtype))
            yield op_case(f"{op}/special/{dtype}", op, [t], unary(op, t), ulp=ulp)
        if not integers and op != "logical_not":
            for dtype in FLOATS:
                t = random_values(op, dtype)
                yield op_case(f"{op}/random/{dtype}", op, [t], unary(op, t), ulp=ulp)
        dtype = "s32" if integers else "f32"
        for shape in [(), (0,), (2, 0), (1, 1, 1), (2, 1, 3, 1, 2)]:
            t = Random(f"{op} {shape}").small(dtype, shape, 1, 1 if op in BOUNDED else 9)
            yield op_case(f"{op}/shape/{shape}", op, [t], unary(op, t), ulp=ulp)
