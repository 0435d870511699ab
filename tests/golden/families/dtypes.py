"""Small and complex dtypes: casts between all, arithmetic that rounds once, ops that only move."""

import math

import numpy as np

from cases import op_case
from reference import (
    COMPLEX,
    DTYPES,
    FORMATS,
    INF,
    NAN,
    SMALL_FLOATS,
    SMALL_INTS,
    Random,
    Tensor,
    as_type,
    binary,
    bits,
    from_array,
    int_range,
    is_complex,
    is_float,
    pairs,
    specials,
    store,
    to_aggregate,
    unary,
)

NEW = SMALL_INTS + SMALL_FLOATS + COMPLEX
ALL = DTYPES + NEW
REAL = [t for t in ALL if t not in COMPLEX]


def tensor(dtype, values):
    return Tensor(dtype, (len(values),), values)


def every(dtype):
    """All patterns of 8 bits, and many of 16 bits."""
    form = FORMATS[dtype]
    step = 1 if form.width == 8 else 37
    return [form.decode(p) for p in range(0, 2**form.width, step)]


def near_ties(dtype, wide):
    """Numbers between two neighbours of a small float, at and near the middle."""
    finite = FORMATS[dtype].finite
    at = sorted(
        set(
            list(range(0, 20))
            + list(range(0, len(finite) - 1, len(finite) // 40))
            + list(range(len(finite) - 4, len(finite) - 1))
        )
    )
    values = []
    for i in at:
        middle = (finite[i] + finite[i + 1]) / 2
        up = float(np.nextafter(np.array(middle, wide), np.array(INF, wide)))
        down = float(np.nextafter(np.array(middle, wide), np.array(0, wide)))
        values += [middle, up, down, -middle, -up]
    over = finite[-1] + (finite[-1] - finite[-2]) / 2
    return values + [
        over,
        float(np.nextafter(np.array(over, wide), np.array(0, wide))),
        1e30,
        -1e30,
        INF,
        -INF,
        NAN,
        1e-42,
    ]


def cast_cases():
    for a in ALL:
        for b in ALL:
            if a in DTYPES and b in DTYPES or a == b:
                continue
            t = tensor(a, [complex(x) if is_complex(a) else x for x in specials(a)])
            yield op_case(f"as_type/{a},{b}", "as_type", [t], as_type(t, b), {"type": b})
    for dtype in SMALL_FLOATS:
        t = tensor(dtype, every(dtype))
        yield op_case(f"as_type/every/{dtype}", "as_type", [t], as_type(t, "f32"), {"type": "f32"})
        for wide in ["f32", "f64"]:
            t = tensor(wide, near_ties(dtype, wide.replace("f", "float")))
            yield op_case(
                f"as_type/ties/{wide},{dtype}", "as_type", [t], as_type(t, dtype), {"type": dtype}
            )
        t = tensor("s64", [2**24 + 1, 2**40 + 1, -(2**53) - 1, 65519, 65520, 65535, 257, 259])
        yield op_case(f"as_type/large/{dtype}", "as_type", [t], as_type(t, dtype), {"type": dtype})
    for dtype in SMALL_INTS:
        t = tensor("f32", [INF, -INF, NAN, 7.9, -8.9, 100.5, -100.5, 1e20, 0.5])
        yield op_case(f"as_type/floats/{dtype}", "as_type", [t], as_type(t, dtype), {"type": dtype})


def value_pairs(dtype):
    if dtype in SMALL_INTS:
        low, high = int_range(dtype)
        return pairs(list(range(low, high + 1)))
    return pairs(specials(dtype))


def arithmetic_cases():
    for dtype in SMALL_INTS + SMALL_FLOATS:
        xs, ys = value_pairs(dtype)
        x, y = tensor(dtype, xs), tensor(dtype, ys)
        ops = [
            "add",
            "subtract",
            "multiply",
            "divide",
            "min",
            "max",
            "remainder",
            "equal",
            "less",
            "greater_equal",
            "logical_and",
        ]
        if dtype in SMALL_INTS:
            ops += ["quotient", "pow", "bitwise_and", "bitwise_xor", "left_shift", "right_shift"]
        # The sign of a zero is not defined.
        plain = [(a, b) for a, b in zip(xs, ys) if not a == b == 0]
        p, q = tensor(dtype, [a for a, _ in plain]), tensor(dtype, [b for _, b in plain])
        for op in ops:
            a, b = (p, q) if op in ("min", "max") else (x, y)
            yield op_case(f"{op}/{dtype}", op, [a, b], binary(op, a, b))
        z = tensor(dtype, specials(dtype))
        for op in ["negate", "abs", "sign", "floor", "round", "logical_not", "sqrt", "exp", "tanh"]:
            ulp = 1 if op in ("exp", "tanh") else 0
            # The sign of a rounded zero is not defined either.
            a = tensor(dtype, [v for v in z.values if op != "round" or v > 0 or v < -0.5])
            yield op_case(f"{op}/{dtype}", op, [a], unary(op, a), ulp=ulp)
    for dtype in SMALL_FLOATS:
        rnd = Random(f"dtypes {dtype}")
        x, y = rnd.wide(dtype, (500,)), rnd.wide(dtype, (500,))
        for op in ["add", "multiply", "divide"]:
            yield op_case(f"{op}/random/{dtype}", op, [x, y], binary(op, x, y))
    for a in NEW:
        for b in ALL:
            x, y = tensor(a, [0, 1, 1]), tensor(b, [1, 1, 0])
            yield op_case(f"add/mixed/{a},{b}", "add", [x, y], binary("add", x, y))
            yield op_case(f"add/mixed/{b},{a}/left", "add", [y, x], binary("add", y, x))
    for dtype in REAL:
        for number in [1, 2, -1, 300, 0.5, 1 + 2j]:
            x = tensor(dtype, [0, 1, 1])
            yield op_case(
                f"multiply/literal/{dtype},{number}",
                "multiply",
                [x, number],
                binary("multiply", x, number),
            )


def complex_cases():
    for dtype in COMPLEX:
        rnd = Random(f"complex {dtype}")
        whole = [complex(a, b) for a, b in zip(rnd.ints(-9, 9, 40), rnd.ints(-9, 9, 40))]
        x = tensor(dtype, whole)
        y = tensor(dtype, [v or 1 for v in reversed(whole)])
        for op in ["add", "subtract", "multiply", "equal", "not_equal", "logical_or"]:
            yield op_case(f"{op}/{dtype}", op, [x, y], binary(op, x, y))
        yield op_case(f"divide/{dtype}", "divide", [x, y], binary("divide", x, y), ulp=4, abs=1e-15)
        r = rnd.wide(dtype, (60,))
        eps = 2e-6 if dtype == "c64" else 1e-14
        e = rnd.wide(dtype, (60,))
        yield op_case(f"pow/{dtype}", "pow", [r, e], binary("pow", r, e), ulp=16, abs=eps)
        for op in ["sqrt", "exp", "log", "sin", "cos", "tanh", "abs", "negate"]:
            yield op_case(f"{op}/{dtype}", op, [r], unary(op, r), ulp=4, abs=eps)
        part = "f32" if dtype == "c64" else "f64"
        s = tensor(dtype, specials(dtype))
        yield op_case(f"real/{dtype}", "real", [s], tensor(part, [v.real for v in s.values]))
        yield op_case(f"imag/{dtype}", "imag", [s], tensor(part, [v.imag for v in s.values]))
        yield op_case(
            f"conjugate/{dtype}", "conjugate", [s], tensor(dtype, [v.conjugate() for v in s.values])
        )
        angles = [math.atan2(v.imag, v.real) for v in r.values]
        yield op_case(f"phase/{dtype}", "phase", [r], tensor(part, angles), ulp=2)
        yield op_case(f"atan2/{dtype}", "atan2", [r, e], binary("atan2", r, e), ulp=16, abs=eps)
        points = [(1, 0), (0, -1), (-2, -2), (0, 0), (-3, 4)]
        left, right = [tensor(dtype, list(of)) for of in zip(*points)]
        angles = tensor(dtype, [math.atan2(*point) for point in points])
        yield op_case(f"atan2/of real coordinates/{dtype}", "atan2", [left, right], angles, ulp=2)
        zero = tensor(dtype, [0, 0, 0])
        powers = tensor(dtype, [0, 2, 1 + 1j])
        yield op_case(f"pow/of zero/{dtype}", "pow", [zero, powers], tensor(dtype, [1, 0, 0]))
        m = Tensor(dtype, (5, 8), whole)
        a = m.array()
        for axis in (0, 1):
            yield op_case(
                f"sum/{dtype}/{axis}",
                "sum",
                [m],
                from_array(dtype, a.sum(axis=axis)),
                {"axes": [axis]},
            )
        yield op_case(
            f"product/{dtype}", "product", [m], from_array(dtype, a.prod(axis=0)), {"axes": [0]}
        )
        running = np.add.accumulate(a, axis=1)
        yield op_case(
            f"cumulative_sum/{dtype}",
            "cumulative_sum",
            [m],
            from_array(dtype, running),
            {"axis": 1},
        )
        # Powers of 1 + i and the like stay exact.
        few = tensor(dtype, [1 + 1j, 2, -1j, 1 - 1j, 0.5, 1j, -1, 1 + 1j])
        products = np.multiply.accumulate(np.array(few.values)).tolist()
        yield op_case(
            f"cumulative_product/{dtype}", "cumulative_product", [few], tensor(dtype, products)
        )
        yield op_case(
            f"is_nan/{dtype}", "is_nan", [s], tensor("u8", [int(v != v) for v in s.values])
        )
        infinite = [int(INF in (abs(v.real), abs(v.imag))) for v in s.values]
        yield op_case(f"is_infinity/{dtype}", "is_infinity", [s], tensor("u8", infinite))
        for op, f in [
            ("tan", np.tan),
            ("sinh", np.sinh),
            ("cosh", np.cosh),
            ("asinh", np.arcsinh),
            ("atan", np.arctan),
            ("asin", np.arcsin),
            ("acos", np.arccos),
            ("acosh", np.arccosh),
            ("atanh", np.arctanh),
            ("expm1", np.expm1),
            ("log1p", np.log1p),
            ("rsqrt", lambda v: 1 / np.sqrt(v)),
            ("sigmoid", lambda v: 1 / (1 + np.exp(-v))),
            ("cbrt", lambda v: np.power(v, np.clongdouble(1) / 3)),
        ]:
            want = [complex(f(np.clongdouble(v))) for v in r.values]
            yield op_case(f"{op}/{dtype}", op, [r], tensor(dtype, want), ulp=8, abs=eps)
        yield op_case(
            f"cbrt/infinite/{dtype}",
            "cbrt",
            [tensor(dtype, [complex(INF, 3), INF])],
            tensor(dtype, [INF, INF]),
        )
        n = Tensor(dtype, (8, 3), whole[:24])
        yield op_case(f"dot/{dtype}", "dot", [m, n], from_array(dtype, a.dot(n.array())))
        for op in [
            "less",
            "max",
            "floor",
            "sign",
            "clip",
            "reduce_max",
            "sort",
            "argmax",
            "quotient",
            "bitwise_and",
            "erf",
            "argsort",
            "population_count",
            "cumulative_max",
        ]:
            count = {
                "floor": 1,
                "sign": 1,
                "reduce_max": 1,
                "sort": 1,
                "argmax": 1,
                "clip": 3,
                "erf": 1,
                "argsort": 1,
                "population_count": 1,
                "cumulative_max": 1,
            }
            inputs = [x, 1, 1][: count.get(op, 2)]
            yield op_case(f"{op}/{dtype}/refused", op, inputs, error="bad_dtype")
    for dtype in REAL:
        t = tensor(dtype, [1, 0, 1])
        part = dtype if is_float(dtype) else "f32"
        yield op_case(f"real/{dtype}", "real", [t], tensor(part, [1, 0, 1]))
        yield op_case(f"imag/{dtype}", "imag", [t], tensor(part, [0, 0, 0]))
        to = "c128" if dtype == "f64" else "c64"
        yield op_case(
            f"conjugate/{dtype}",
            "conjugate",
            [t],
            tensor(to, [complex(v, -0.0) for v in (1, 0, 1)]),
        )
        yield op_case(
            f"complex/{dtype}",
            "complex",
            [t, tensor(dtype, [0, 1, 1])],
            tensor(to, [1, 1j, 1 + 1j]),
        )
    yield op_case("complex/of complex", "complex", [tensor("c64", [1]), 1], error="bad_dtype")
    t = tensor("f32", [2.0, -3.0, 0.0])
    yield op_case("phase/f32", "phase", [t], tensor("f32", [0.0, math.pi, 0.0]))
    for number in [1 - 2j, complex(INF, NAN)]:
        yield op_case(
            f"constant/{number}",
            "constant",
            [],
            Tensor("c128", (2,), [number] * 2),
            {
                "value": {
                    "re": number.real if math.isfinite(number.real) else "infinity",
                    "im": number.imag if math.isfinite(number.imag) else "nan",
                },
                "type": "c128",
                "shape": [2],
            },
        )
    yield op_case(
        "constant/complex as f32",
        "constant",
        [],
        error="bad_dtype",
        attrs={"value": {"re": 1, "im": 2}, "type": "f32", "shape": []},
    )


def move_cases():
    """Five and fifteen elements: packed bytes are not filled."""
    for dtype in NEW:
        rnd = Random(f"move {dtype}")
        values = [store(dtype, v) for v in rnd.ints(-7 if dtype[0] != "u" else 0, 7, 15)]
        t = Tensor(dtype, (5, 3), values)
        a = t.array()
        yield op_case(
            f"from_binary/{dtype}",
            "from_binary",
            [],
            t,
            {"type": dtype, "shape": [5, 3], "data": t.data()},
        )
        yield op_case(f"transpose/{dtype}", "transpose", [t], from_array(dtype, a.T))
        yield op_case(
            f"reverse/{dtype}", "reverse", [t], from_array(dtype, a[:, ::-1]), {"axes": [1]}
        )
        yield op_case(
            f"slice/{dtype}",
            "slice",
            [t, 1, 1],
            from_array(dtype, a[1:4:2, 1:3]),
            {"lengths": [3, 2], "strides": [2, 1]},
        )
        yield op_case(
            f"concatenate/{dtype}",
            "concatenate",
            [t, t],
            from_array(dtype, np.concatenate([a, a], axis=1)),
            {"axis": 1},
        )
        yield op_case(
            f"take/{dtype}", "take", [t, tensor("s32", [4, 0, 2])], from_array(dtype, a[[4, 0, 2]])
        )
        where = Tensor("s32", (3, 1), [1, 4, 1])
        yield op_case(f"gather/{dtype}", "gather", [t, where], from_array(dtype, a[[1, 4, 1]]))
        u = Tensor(dtype, (3, 3), values[:9])
        put, added = a.copy(), a.astype(object)
        for row, index in enumerate([1, 4, 1]):
            for column in range(3):
                new = u.array()[row, column]
                put[index, column] = new
                added[index, column] += new
        yield op_case(f"indexed_put/{dtype}", "indexed_put", [t, where, u], from_array(dtype, put))
        for in_place in (False, True):
            yield op_case(
                f"indexed_add/{dtype}/{in_place}",
                "indexed_add",
                [t, where, u],
                from_array(dtype, added),
                in_place=in_place,
            )
        sliced = a.copy()
        sliced[2:4, 0:2] = u.array()[:2, :2]
        yield op_case(
            f"put_slice/{dtype}",
            "put_slice",
            [t, from_array(dtype, u.array()[:2, :2]), 2, 0],
            from_array(dtype, sliced),
        )
        mask = Tensor("u8", (5, 3), [i % 2 for i in range(15)])
        picked = [x if i % 2 else y for i, (x, y) in enumerate(zip(values, reversed(values)))]
        yield op_case(
            f"select/{dtype}",
            "select",
            [mask, t, Tensor(dtype, (5, 3), list(reversed(values)))],
            Tensor(dtype, (5, 3), picked),
        )
        yield op_case(
            f"iota/{dtype}",
            "iota",
            [],
            Tensor(dtype, (5, 4), range(20)),
            {"type": dtype, "shape": [5, 4]},
        )
        yield op_case(
            f"eye/{dtype}",
            "eye",
            [],
            Tensor(dtype, (3, 3), [1, 0, 0, 0, 1, 0, 0, 0, 1]),
            {"type": dtype, "shape": [3, 3]},
        )
        yield op_case(
            f"constant/{dtype}",
            "constant",
            [],
            Tensor(dtype, (5,), [1] * 5),
            {"value": 1, "type": dtype, "shape": [5]},
        )
        yield op_case(
            f"fill/{dtype}", "fill", [t, 1], Tensor(dtype, (5, 3), [1] * 15), in_place=True
        )
        yield op_case(
            f"add/in place/{dtype}",
            "add",
            [t, Tensor(dtype, (5, 3), [1] * 15)],
            Tensor(dtype, (5, 3), [store(dtype, v + 1) for v in values]),
            in_place=True,
        )


def running_product(dtype, values):
    """Integers exactly; floats in f64, each result rounded."""
    product, out = 1, []
    for v in values:
        product = product * v
        if dtype in SMALL_FLOATS:
            product = float(product)
        out.append(store(dtype, store("f32", product) if dtype in SMALL_FLOATS else product))
    return out


def reduce_cases():
    for dtype in SMALL_INTS + SMALL_FLOATS:
        rnd = Random(f"reduce {dtype}")
        low, high = int_range(dtype) if dtype in SMALL_INTS else (-6, 6)
        values = [store(dtype, v) for v in rnd.ints(low, high, 35)]
        t = Tensor(dtype, (7, 5), values)
        a = t.array()
        total = to_aggregate(dtype)
        yield op_case(f"sum/{dtype}", "sum", [t], from_array(total, a.sum(axis=0)), {"axes": [0]})
        yield op_case(f"sum/all/{dtype}", "sum", [t], Tensor(total, (), [sum(values)]))
        yield op_case(
            f"product/{dtype}", "product", [t], from_array(total, a.prod(axis=0)), {"axes": [0]}
        )
        yield op_case(
            f"reduce_max/{dtype}",
            "reduce_max",
            [t],
            from_array(dtype, a.max(axis=1)),
            {"axes": [1]},
        )
        yield op_case(f"reduce_min/{dtype}", "reduce_min", [t], Tensor(dtype, (), [min(values)]))
        first = [int(np.argmax([float(v) for v in row])) for row in a]
        yield op_case(f"argmax/{dtype}", "argmax", [t], Tensor("s32", (7,), first), {"axis": 1})
        ordered = [sorted(row) for row in a.tolist()]
        flat = [v for row in ordered for v in row]
        if dtype in SMALL_FLOATS:
            flat = [v + 0.0 for v in flat]
        for in_place in (False, True):
            yield op_case(
                f"sort/{dtype}/{in_place}",
                "sort",
                [t],
                Tensor(dtype, (7, 5), flat),
                {"axis": 1},
                in_place=in_place,
            )
        order = [sorted(range(5), key=lambda i, r=row: r[i]) for row in a.tolist()]
        yield op_case(
            f"argsort/{dtype}",
            "argsort",
            [t],
            Tensor("s32", (7, 5), [i for row in order for i in row]),
            {"axis": 1},
        )
        b = Tensor(dtype, (5, 2), values[:10])
        yield op_case(f"dot/{dtype}", "dot", [t, b], from_array(dtype, a.dot(b.array())))
        running = np.add.accumulate(a, axis=0)
        yield op_case(f"cumulative_sum/{dtype}", "cumulative_sum", [t], from_array(dtype, running))
        top = sorted(range(35), key=lambda i: (-values[i], i))[:4]
        flat_t = tensor(dtype, values)
        yield op_case(
            f"top_k/{dtype}",
            "top_k",
            [flat_t],
            [tensor(dtype, [values[i] for i in top]), tensor("s32", top)],
            {"k": 4},
        )
        yield op_case(
            f"cumulative_product/{dtype}",
            "cumulative_product",
            [flat_t],
            tensor(dtype, running_product(dtype, values)),
        )
        yield op_case(
            f"is_nan/{dtype}",
            "is_nan",
            [tensor(dtype, specials(dtype))],
            tensor("u8", [int(v != v) for v in specials(dtype)]),
        )
        yield op_case(
            f"is_infinity/{dtype}",
            "is_infinity",
            [tensor(dtype, specials(dtype))],
            tensor("u8", [int(abs(v) == INF) for v in specials(dtype)]),
        )
    for dtype in SMALL_INTS:
        low, high = int_range(dtype)
        t = tensor(dtype, list(range(low, high + 1)))
        n = bits(dtype)
        patterns = [format(v & (1 << n) - 1, f"0{n}b") for v in t.values]
        yield op_case(
            f"population_count/{dtype}",
            "population_count",
            [t],
            tensor(dtype, [text.count("1") for text in patterns]),
        )
        yield op_case(
            f"count_leading_zeros/{dtype}",
            "count_leading_zeros",
            [t],
            tensor(dtype, [len(text) - len(text.lstrip("0")) for text in patterns]),
        )
        other = ("s" if dtype[0] == "u" else "u") + str(n)
        yield op_case(
            f"bitcast/{dtype}", "bitcast", [t], Tensor(other, t.shape, t.values), {"type": other}
        )
        yield op_case(
            f"bitcast/{dtype}/u8", "bitcast", [t], error="bad_dtype", attrs={"type": "u8"}
        )
    for a, b in [
        ("f16", "u16"),
        ("bf16", "s16"),
        ("f8", "u8"),
        ("f8_e4m3fn", "f8"),
        ("f16", "bf16"),
    ]:
        t = tensor(a, [0.0, -0.0, 1.0, -2.5, 0.1875])
        data = t.data()
        out = FORMATS[b].width // 8 if b in FORMATS else bits(b) // 8
        words = [int.from_bytes(data[i : i + out], "little") for i in range(0, len(data), out)]
        values = [FORMATS[b].decode(w) for w in words] if b in FORMATS else words
        yield op_case(f"bitcast/{a},{b}", "bitcast", [t], tensor(b, values), {"type": b})
    for pair in [("c64", "f64"), ("s64", "c64"), ("c64", "c64")]:
        yield op_case(
            f"bitcast/{pair}",
            "bitcast",
            [tensor(pair[0], [1, 2])],
            error="bad_dtype",
            attrs={"type": pair[1]},
        )
    # The sum in f64 is rounded once: a sum in f32 would be a tie.
    t = tensor("f16", [2048.0, 1.0, 2.0**-24])
    yield op_case("sum/f16/rounded once", "sum", [t], Tensor("f16", (), [2050.0]))


def cases():
    yield from cast_cases()
    yield from arithmetic_cases()
    yield from complex_cases()
    yield from move_cases()
    yield from reduce_cases()
