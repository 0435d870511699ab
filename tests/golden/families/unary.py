"""Unary element-wise operations."""

import math

from cases import op_case
from reference import DTYPES, FLOATS, INF, INTS, NAN, Random, Tensor, specials, unary

EXACT = ["negate", "abs", "sign", "sqrt", "floor", "ceil", "round"]
MATH = ["exp", "log", "sin", "cos", "tanh"]
FLOAT_VALUES = {
    "exp": [0.0, -0.0, 1.0, -1.0, 0.5, 10.0, -10.0, 88.0, -87.0, -95.0, -103.0, 89.5, -110.0,
            1e-8, -1e-8, 700.0, -700.0, -740.0, 710.5, NAN, INF, -INF],
    "log": [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 10.0, 1e-3, 1e30, 1e-30, 1e-40, 1.0000001, 0.9999999,
            math.e, NAN, INF, -INF, 1e300, 5e-324],
    "sin": [0.0, -0.0, 1.0, -1.0, 0.5, math.pi, -math.pi / 2, 3.0, 100.0, -1e4, 1e6, 1e-6, 1e-20,
            1e22, 3e38, -123456.789, NAN, INF, -INF],
    "tanh": [0.0, -0.0, 1.0, -1.0, 0.5, 1e-4, 1e-10, -1e-30, 3.0, -5.0, 9.0, 20.0, -20.0, 100.0,
             NAN, INF, -INF],
    "round": [0.0, 0.4, 0.5, 0.6, 1.5, 2.5, -0.5, -0.6, -1.5, -2.5, 1e10, -1e10, 8388609.0,
              8388607.5, 0.49999997, 0.49999999999999994, NAN, INF, -INF, 4503599627370497.0],
}
FLOAT_VALUES["cos"] = FLOAT_VALUES["sin"]
FLOAT_VALUES["floor"] = FLOAT_VALUES["ceil"] = FLOAT_VALUES["round"] + [-0.0, -0.3, 1e300, -1e-300]
FLOAT_VALUES["sqrt"] = [0.0, -0.0, 1.0, 2.0, 4.0, 1e-40, 1e30, -1.0, -1e-300, 5e-324, NAN, INF,
                        -INF, 0.1]


def values_of(op, dtype):
    if dtype in FLOATS:
        return FLOAT_VALUES.get(op, specials(dtype))
    if op in MATH + ["sqrt"]:
        # Whole numbers that f32 holds exactly, whatever order converts them.
        return [0, 1, 2, 3, 10, 100] + ([-1, -2, -20] if dtype[0] == "s" else [200])
    return specials(dtype)


def random_values(op, dtype):
    rnd = Random(f"{op} {dtype}")
    t = rnd.wide(dtype, (301,))
    if op in ("log", "sqrt"):
        t = Tensor(dtype, t.shape, [abs(x) for x in t.values])
    if op == "round":
        t = Tensor(dtype, t.shape, [x if not -0.5 < x < 0 else x - 1 for x in t.values])
    return t


def cases():
    for op in EXACT + MATH + ["bitwise_not", "logical_not"]:
        ulp = 2 if op in MATH else 0
        for dtype in INTS if op == "bitwise_not" else DTYPES:
            t = Tensor(dtype, (len(values_of(op, dtype)),), values_of(op, dtype))
            yield op_case(f"{op}/special/{dtype}", op, [t], unary(op, t), ulp=ulp)
        if op not in ("bitwise_not", "logical_not"):
            for dtype in FLOATS:
                t = random_values(op, dtype)
                yield op_case(f"{op}/random/{dtype}", op, [t], unary(op, t), ulp=ulp)
        dtype = "s32" if op == "bitwise_not" else "f32"
        for shape in [(), (0,), (2, 0), (1, 1, 1), (2, 1, 3, 1, 2)]:
            t = Random(f"{op} {shape}").small(dtype, shape, 1)
            yield op_case(f"{op}/shape/{shape}", op, [t], unary(op, t), ulp=ulp)
