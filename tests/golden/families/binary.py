"""Binary arithmetic, bitwise operations and shifts."""

from cases import op_case
from reference import (
    DTYPES,
    FLOATS,
    INF,
    INTS,
    NAN,
    Random,
    Tensor,
    binary,
    is_float,
    pairs,
    specials,
)

ARITHMETIC = ["add", "subtract", "multiply", "divide", "remainder", "pow", "min", "max", "atan2"]
INTEGER = ["quotient", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]
ULP = {"pow": 2, "atan2": 2}
SOME = {"u8", "u64", "s8", "s32", "s64", "f32", "f64"}
SHAPES = [
    ((), (3,)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((4, 1, 3), (2, 1)),
    ((1,), (5,)),
    ((0,), (1,)),
    ((2, 0, 3), (1, 3)),
    ((2, 1, 2, 1, 2), (1, 3, 1, 2, 1)),
    ((), ()),
    ((7, 9), (7, 9)),
]
LITERALS = [
    ("u8", 1),
    ("u8", 255),
    ("u8", 256),
    ("u8", -1),
    ("u8", 1.5),
    ("u16", 70000),
    ("u32", -3),
    ("u64", 7),
    ("s8", 127),
    ("s8", 128),
    ("s8", -129),
    ("s16", 40000),
    ("s32", 3),
    ("s32", 2147483648),
    ("s32", 2.5),
    ("s64", -9),
    ("s64", 0.5),
    ("f32", 3),
    ("f32", 0.1),
    ("f32", -1e30),
    ("f64", 1),
    ("f64", 0.1),
    ("f32", NAN),
    ("f32", INF),
    ("f64", -INF),
]


def no_mixed_zeros(op, xs, ys):
    """True for min and max of +0 and -0: Nx does not define which of the two is the result."""
    if op not in ("min", "max"):
        return xs, ys
    kept = [(x, y) for x, y in zip(xs, ys) if not (x == 0 and y == 0)]
    return [x for x, _ in kept], [y for _, y in kept]


def special_pairs(op, dtype):
    values = specials(dtype)
    if op in ("divide", "atan2") and not is_float(dtype):
        # Nx divides in f64 and rounds once; other libraries convert to f32 first. Both give the
        # same result for these numbers.
        values = [v for v in values if abs(v) < 1 << 24]
    if op in ("left_shift", "right_shift"):
        amounts = [0, 1, 3, 7, 8, 15, 16, 31, 32, 63, 64, 100]
        amounts += [-1, -8] if dtype[0] == "s" else []
        return pairs(values, amounts)
    if op == "pow" and not is_float(dtype):
        return pairs(values, [0, 1, 2, 3, 5, 31, 64] + ([-1, -2, -3] if dtype[0] == "s" else []))
    if op == "pow":
        values = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.0,
            0.5,
            -2.0,
            -0.5,
            3.0,
            10.25,
            NAN,
            INF,
            -INF,
            -3.0,
            33.0,
        ]
    return no_mixed_zeros(op, *pairs(values))


def mixed(op):
    """Pairs of dtypes, with numbers that all of them represent exactly; for add, all pairs."""
    for a in DTYPES:
        for b in DTYPES:
            if a == b or op in INTEGER and (is_float(a) or is_float(b)):
                continue
            if op not in ("add", "divide", "quotient") and not {a, b} <= SOME:
                continue
            rnd = Random(f"{op} {a} {b}")
            x = rnd.small(a, (6,))
            y = rnd.small(b, (6,), 1 if op in ("divide", "remainder", "quotient") else -9)
            if op in ("pow", "left_shift", "right_shift"):
                y = rnd.small(b, (6,), 0, 4)
            if op == "pow" and is_float(binary("add", x, y).dtype):
                x = rnd.small(a, (6,), 1, 9)
            if op in ("min", "max"):
                x, y = rnd.small(a, (6,), 1), rnd.small(b, (6,), 1)
            yield op_case(f"{op}/mixed/{a},{b}", op, [x, y], binary(op, x, y), ulp=ULP.get(op, 0))


def literals(op):
    for dtype, number in LITERALS:
        if op in INTEGER and (is_float(dtype) or isinstance(number, float)):
            continue
        x = Random(f"{op} {dtype}").small(dtype, (5,), 1, 9)
        if op in ("left_shift", "right_shift", "pow"):
            if number in (256, 70000, 40000, 2147483648, -1e30):
                continue
        yield op_case(
            f"{op}/literal/{dtype},{number!r}",
            op,
            [x, number],
            binary(op, x, number),
            ulp=ULP.get(op, 0),
        )
        if op in ("subtract", "divide", "quotient", "remainder"):
            yield op_case(
                f"{op}/literal/{number!r},{dtype}", op, [number, x], binary(op, number, x)
            )


def cases():
    for op in ARITHMETIC + INTEGER:
        for dtype in INTS if op in INTEGER else DTYPES:
            xs, ys = special_pairs(op, dtype)
            x, y = Tensor(dtype, (len(xs),), xs), Tensor(dtype, (len(ys),), ys)
            yield op_case(f"{op}/special/{dtype}", op, [x, y], binary(op, x, y), ulp=ULP.get(op, 0))
        yield from mixed(op)
        yield from literals(op)
    for op in ["add", "subtract", "multiply", "bitwise_xor", "max", "remainder", "quotient"]:
        for dtype in ["s32", "u8"] + ([] if op in INTEGER else ["f32", "f64"]):
            for i, (a, b) in enumerate(SHAPES):
                rnd = Random(f"{op} {dtype} {i}")
                x = rnd.small(dtype, a, 1)
                y = rnd.small(dtype, b, 1)
                for left, right in [(x, y)] if a == b else [(x, y), (y, x)]:
                    yield op_case(
                        f"{op}/broadcast/{dtype}/{left.shape}{right.shape}",
                        op,
                        [left, right],
                        binary(op, left, right),
                    )
    for op in ["add", "subtract", "multiply", "divide"]:
        for dtype in FLOATS:
            rnd = Random(f"rounding {op} {dtype}")
            x, y = rnd.wide(dtype, (509,)), rnd.wide(dtype, (509,))
            yield op_case(f"{op}/rounding/{dtype}", op, [x, y], binary(op, x, y))
    for op in ["add", "multiply", "pow"]:
        for a, b in [(1, 2), (1, 2.5), (0.5, 4)]:
            yield op_case(
                f"{op}/two literals/{a!r},{b!r}", op, [a, b], binary(op, a, b), ulp=ULP.get(op, 0)
            )
