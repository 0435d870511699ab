"""One small case for each op and dtype that the other families do not have. docs/SUPPORT.md then
has an entry for each: a result, or an error."""

import numpy as np
import scipy.linalg

from cases import Region, op_case, program_case
from families import conv, fft, fold, indexed, linalg, reduce, select, window
from families.unary import BOUNDED, MATH
from reference import (
    COMPLEX,
    DTYPES,
    INF,
    INTS,
    NAN,
    SMALL_FLOATS,
    SMALL_INTS,
    Random,
    Tensor,
    binary,
    from_array,
    int_range,
    is_complex,
    is_float,
    is_signed,
    pairs,
    specials,
    store,
    to_floating,
    unary,
)

SMALL = SMALL_INTS + SMALL_FLOATS
REAL = DTYPES + SMALL
ALL = REAL + COMPLEX
REFUSED_FLOATS = ["f64"] + SMALL_FLOATS


def tensor(dtype, values):
    return Tensor(dtype, (len(values),), values)


def grid(dtype, name, shape=(3, 4)):
    """Integers that the dtype represents."""
    low, high = (0, 3) if dtype[0] == "u" else (-2, 1)
    return Random(f"every {name} {dtype}").small(dtype, shape, low, high)


def move_cases():
    for dtype in ALL:
        t = grid(dtype, "move")
        a = t.array()
        for op, attrs, out in [
            ("reshape", {"shape": [2, 6]}, a.reshape(2, 6)),
            ("transpose", {}, a.T),
            ("broadcast", {"shape": [2, 3, 4]}, np.broadcast_to(a, (2, 3, 4))),
            ("reverse", {"axes": [0]}, a[::-1]),
        ]:
            yield op_case(f"{op}/every/{dtype}", op, [t], from_array(dtype, out), attrs)
        thin = Tensor(dtype, (3, 1, 2), t.values[:6])
        yield op_case(
            f"squeeze/every/{dtype}", "squeeze", [thin], Tensor(dtype, (3, 2), t.values[:6])
        )
        yield op_case(
            f"slice/every/{dtype}",
            "slice",
            [t, 1, 0],
            from_array(dtype, a[1:3, 0:4:2]),
            {"lengths": [2, 4], "strides": [1, 2]},
        )
        yield op_case(
            f"concatenate/every/{dtype}",
            "concatenate",
            [t, t],
            from_array(dtype, np.concatenate([a, a])),
            {"axis": 0},
        )
        yield op_case(
            f"stack/every/{dtype}",
            "stack",
            [t, t],
            from_array(dtype, np.stack([a, a], 1)),
            {"axis": 1},
        )
        out = window.pad(t, store(dtype, 1), [(1, 0, 1), (-1, 2, 0)])
        yield op_case(
            f"pad/every/{dtype}",
            "pad",
            [t, Tensor(dtype, (), [1])],
            from_array(dtype, out),
            {"low": [1, -1], "high": [0, 2], "interior": [1, 0]},
        )
        index = Tensor("s32", (3, 2), [3, 0, 1, 1, 2, 3])
        out = np.take_along_axis(a, index.array().astype(int), 1)
        yield op_case(
            f"take_along_axis/every/{dtype}",
            "take_along_axis",
            [t, index],
            from_array(dtype, out),
            {"axis": 1},
        )
        rows = Tensor("s32", (2, 1), [2, 0])
        yield op_case(f"gather/every/{dtype}", "gather", [t, rows], indexed.gather(t, rows))
        yield op_case(
            f"take/every/{dtype}",
            "take",
            [t, tensor("s32", [2, 0])],
            indexed.take(t, tensor("s32", [2, 0])),
        )


def small_values(op, dtype):
    if dtype in SMALL_INTS:
        low, high = int_range(dtype)
        values = list(range(low, high + 1))
        return [v for v in values if -1 <= v <= 1] if op in BOUNDED else values
    if op in BOUNDED:
        return [0.0, 0.25, -0.5, 0.75, 1.0, -1.0, NAN]
    # -0.0 and numbers near it are left out where the sign of a zero is not defined.
    return [0.0, 0.25, 0.5, -0.5, 1.0, -1.5, 2.5, -4.0, 12.0, NAN, INF, -INF]


def unary_cases():
    for dtype in SMALL:
        for op in MATH:
            t = tensor(dtype, small_values(op, dtype))
            yield op_case(
                f"{op}/every/{dtype}", op, [t], unary(op, t), ulp=1 if dtype in SMALL_FLOATS else 2
            )
        t = tensor(dtype, small_values("ceil", dtype))
        yield op_case(f"ceil/every/{dtype}", "ceil", [t], unary("ceil", t))
    for dtype in SMALL_INTS:
        t = tensor(dtype, small_values("bitwise_not", dtype))
        yield op_case(f"bitwise_not/every/{dtype}", "bitwise_not", [t], unary("bitwise_not", t))
    for dtype in REFUSED_FLOATS:
        for op in ("bitwise_not", "population_count", "count_leading_zeros"):
            yield op_case(f"{op}/every/{dtype}", op, [tensor(dtype, [1, 2])], error="bad_dtype")
    for dtype in REAL:
        values = [0, 1] + ([-1] if is_float(dtype) or is_signed(dtype) else [])
        angles = [np.pi if v < 0 else 0.0 for v in values]
        yield op_case(
            f"phase/every/{dtype}",
            "phase",
            [tensor(dtype, values)],
            tensor(to_floating(dtype), angles),
            ulp=1,
        )


def binary_cases():
    for dtype in SMALL:
        values = small_values("", dtype)
        x, y = [tensor(dtype, v) for v in pairs(values)]
        for op in ("not_equal", "greater", "less_equal", "logical_or", "logical_xor"):
            yield op_case(f"{op}/every/{dtype}", op, [x, y], binary(op, x, y))
        if dtype in SMALL_FLOATS:
            # The result must be far from a tie of its dtype.
            values = [0.5, 1.0, 2.0, -2.0, 4.0, 0.0, INF, NAN]
            p, q = [tensor(dtype, v) for v in pairs(values)]
            yield op_case(f"pow/every/{dtype}", "pow", [p, q], binary("pow", p, q), ulp=1)
        yield op_case(
            f"atan2/every/{dtype}",
            "atan2",
            [x, y],
            binary("atan2", x, y),
            ulp=1 if dtype in SMALL_FLOATS else 2,
        )
    for dtype in SMALL_INTS:
        x, y = [tensor(dtype, v) for v in pairs(small_values("", dtype))]
        yield op_case(f"bitwise_or/every/{dtype}", "bitwise_or", [x, y], binary("bitwise_or", x, y))
    for dtype in REFUSED_FLOATS:
        x = tensor(dtype, [1, 2])
        for op in (
            "quotient",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "left_shift",
            "right_shift",
        ):
            yield op_case(f"{op}/every/{dtype}", op, [x, x], error="bad_dtype")
    for dtype in COMPLEX:
        x, y = [tensor(dtype, v) for v in pairs([0, 1 + 2j, -1j, complex(NAN, 0)])]
        for op in ("logical_and", "logical_xor"):
            yield op_case(f"{op}/every/{dtype}", op, [x, y], binary(op, x, y))
    yield op_case("complex/every/c128", "complex", [tensor("c128", [1]), 1], error="bad_dtype")


def select_cases():
    for dtype in SMALL + COMPLEX:
        pred = tensor(dtype, [0, 1, 0, 1])
        x, y = tensor("s32", [1, 2, 3, 4]), tensor("s32", [5, 6, 7, 8])
        yield op_case(f"select/every/{dtype}", "select", [pred, x, y], select.select(pred, x, y))
    for dtype in SMALL:
        t = tensor(dtype, specials(dtype))
        low, high = (0, 1) if dtype[0] == "u" else (-1, 1)
        args = [t, Tensor(dtype, (), [low]), Tensor(dtype, (), [high])]
        yield op_case(f"clip/every/{dtype}", "clip", args, select.clip(*args))


def reduce_cases():
    for dtype in SMALL + COMPLEX:
        t = grid(dtype, "reduce")
        for op in ("all", "any"):
            yield op_case(f"{op}/every/{dtype}", op, [t], reduce.reduce(op, t, [1]), {"axes": [1]})
    for dtype in SMALL:
        t = grid(dtype, "reduce")
        yield op_case(
            f"argmin/every/{dtype}", "argmin", [t], reduce.arg("argmin", t, 1), {"axis": 1}
        )
        for op in ("cumulative_min", "cumulative_max"):
            yield op_case(f"{op}/every/{dtype}", op, [t], reduce.cumulative(op, t, 1), {"axis": 1})


def window_cases():
    config = ((2, 3), None, [(1, 0), (1, 1)], None)
    for dtype in COMPLEX:
        t = Tensor(
            dtype,
            (3, 4),
            [
                complex(a, b)
                for a, b in zip(Random("re").ints(-2, 2, 12), Random("im").ints(-2, 2, 12))
            ],
        )
        for op in ("window_sum", "window_product"):
            yield op_case(
                f"{op}/every/{dtype}",
                op,
                [t],
                window.window(op, t, *config),
                window.attrs_of(*config),
            )
    config = ((1, 2), [1, 2], None)
    for dtype in SMALL:
        t, source = grid(dtype, "scatter"), grid(dtype, "source", (3, 2))
        init = Tensor(dtype, (), [1])
        for op in ("window_scatter_max", "window_scatter_min"):
            yield op_case(
                f"{op}/every/{dtype}",
                op,
                [t, source, init],
                window.scatter(op, t, source, init, config),
                window.attrs_of(*config, None),
            )


def conv_and_fft_cases():
    for dtype in SMALL:
        x, k = grid(dtype, "image", (1, 2, 5)), grid(dtype, "kernel", (3, 2, 2))
        yield op_case(f"conv/every/{dtype}", "conv", [x, k], conv.conv(x, k))
        t = grid(dtype, "fft", (2, 6))
        for op in ("fft", "ifft", "rfft", "irfft"):
            yield from fft.case(f"every/{dtype}", op, t, fft.fft(op, t), {})
    for dtype in REAL:
        t = grid(dtype, "fft2")
        for op in ("fft2", "ifft2"):
            y = getattr(np.fft, op)(fft.numbers(t))
            yield from fft.case(f"every/{dtype}", op, t, fft.tensor(fft.complex_of(dtype), y), {})
    yield op_case("rfft/every/c128", "rfft", [tensor("c128", [1, 2])], error="bad_dtype")


def linalg_cases():
    for dtype in INTS + SMALL:
        # s2 ends at 1.
        a = np.eye(2) if dtype == "s2" else np.array([[2.0, 1.0], [1.0, 3.0]])
        b = np.array([1.0, 0.0])
        out = to_floating(dtype)
        close = linalg.close("f32", 2) if dtype not in SMALL_FLOATS else {"ulp": 1}
        make = lambda x, of=out: Tensor(
            of, np.shape(x), [v if is_float(of) else int(v) for v in np.ravel(x).tolist()]
        )
        x, y = make(a, dtype), make(b, dtype)
        p, l, u = scipy.linalg.lu(a)
        results = {
            "cholesky": make(np.linalg.cholesky(a)),
            "determinant": make(np.linalg.det(a).round()),
            "invert": make(np.linalg.inv(a)),
            "lu": [make(p, dtype), make(l), make(u)],
            "qr": [make(m) for m in linalg.qr(a, False)],
            "svd": [make(m) for m in linalg.svd(a, True)],
        }
        for op, wanted in results.items():
            yield op_case(f"{op}/every/{dtype}", op, [x], wanted, **close)
        # Eigenvalues that differ, so that there is one order.
        a_eigh = np.diag([-2.0, 1.0]) if dtype == "s2" else a
        yield op_case(
            f"eigh/every/{dtype}",
            "eigh",
            [make(a_eigh, dtype)],
            [make(m) for m in linalg.eigh(a_eigh)],
            **close,
        )
        yield op_case(f"solve/every/{dtype}", "solve", [x, y], make(np.linalg.solve(a, b)), **close)
        yield op_case(
            f"triangular_solve/every/{dtype}",
            "triangular_solve",
            [x, y],
            make(np.linalg.solve(np.tril(a), b)),
            **close,
        )


def add(r, x, acc):
    return r.op("add", x, acc)


def fold_cases():
    for dtype in ALL:
        t, start = grid(dtype, "fold"), Tensor(dtype, (), [1])
        one = store(dtype, 1)
        plus = lambda x, acc: x + acc
        yield program_case(
            f"reduce/every/{dtype}",
            fold.program("reduce", add, {"axes": [1]}),
            [t, start],
            fold.reduce(t, dtype, one, plus, [1]),
        )
        config = ((1, 3), None, [(0, 0), (1, 0)], None)
        yield program_case(
            f"window_reduce/every/{dtype}",
            fold.program("window_reduce", add, window.attrs_of(*config)),
            [t, start],
            fold.window_reduce(t, one, plus, *config),
        )
        yield program_case(
            f"map/every/{dtype}",
            fold.program("map", lambda r, x: r.op("multiply", x, x), {}, False),
            [t],
            binary("multiply", t, t),
        )


def control_cases():
    from families.control import cond, loop

    for dtype in ALL:
        x, y = grid(dtype, "control"), Tensor(dtype, (4,), [1, 0, 1, 0])
        top = Region(2)
        (out,) = loop(top, [top.params[0]], 3, lambda b, i, v, y=top.params[1]: [b.op("add", v, y)])
        wanted = binary("add", binary("add", binary("add", x, y), y), y)
        yield program_case(f"while/every/{dtype}", top.done(out), [x, y], wanted)
        for truth in (0, 1):
            top = Region(3)
            pred, a, b = top.params
            out = cond(top, pred, lambda r: [r.op("add", a, b)], lambda r: [r.op("multiply", a, b)])
            yield program_case(
                f"cond/every/{dtype}/{truth}",
                top.done(out),
                [Tensor(dtype, (), [truth]), x, y],
                binary("add" if truth else "multiply", x, y),
            )


def cases():
    yield from move_cases()
    yield from unary_cases()
    yield from binary_cases()
    yield from select_cases()
    yield from reduce_cases()
    yield from window_cases()
    yield from conv_and_fft_cases()
    yield from linalg_cases()
    yield from fold_cases()
    yield from control_cases()
