"""Comparisons and logic: u8 results, NaN is unequal to everything and true."""

from cases import op_case
from reference import DTYPES, NAN, PREDICATES, Random, Tensor, binary, pairs, specials

SOME = {"u8", "u64", "s8", "s64", "f32", "f64"}
LITERALS = [
    ("u8", 3),
    ("u8", 300),
    ("u8", -1),
    ("u8", 2.5),
    ("s8", 1000),
    ("s32", 3),
    ("s64", 2.0),
    ("f32", 3),
    ("f32", NAN),
    ("f64", 0.5),
    ("u64", -1),
]


def cases():
    for op in PREDICATES:
        for dtype in DTYPES:
            xs, ys = pairs(specials(dtype)[:11])
            x, y = Tensor(dtype, (len(xs),), xs), Tensor(dtype, (len(ys),), ys)
            yield op_case(f"{op}/special/{dtype}", op, [x, y], binary(op, x, y))
        for a in DTYPES:
            for b in DTYPES:
                if a == b or op != "less" and not {a, b} <= SOME:
                    continue
                rnd = Random(f"{op} {a} {b}")
                x, y = rnd.small(a, (8,), -2, 2), rnd.small(b, (8,), -2, 2)
                yield op_case(f"{op}/mixed/{a},{b}", op, [x, y], binary(op, x, y))
        for dtype, number in LITERALS:
            x = Random(f"{op} {dtype}").small(dtype, (9,), 0, 4)
            yield op_case(
                f"{op}/literal/{dtype},{number!r}", op, [x, number], binary(op, x, number)
            )
            yield op_case(
                f"{op}/literal/{number!r},{dtype}", op, [number, x], binary(op, number, x)
            )
        for a, b in [((), (4,)), ((2, 1), (3,)), ((3, 0), (1, 1)), ((2, 1, 2), (1, 3, 1))]:
            rnd = Random(f"{op} {a} {b}")
            x, y = rnd.small("f32", a, -1, 1), rnd.small("f32", b, -1, 1)
            yield op_case(f"{op}/broadcast/{a}{b}", op, [x, y], binary(op, x, y))
