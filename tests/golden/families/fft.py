"""Fourier transforms, against NumPy's in f64 (pocketfft)."""

import numpy as np

from cases import op_case
from reference import DTYPES, FLOATS, Random, Tensor

LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
    13,
    15,
    16,
    17,
    24,
    32,
    49,
    60,
    64,
    97,
    100,
    121,
    128,
    143,
    202,
    256,
    360,
    509,
]


def complex_of(dtype):
    return "c128" if dtype in ("f64", "c128") else "c64"


def real_of(dtype):
    return "f64" if dtype in ("f64", "c128") else "f32"


def numbers(t):
    return np.array(t.values).reshape(t.shape)


def tensor(dtype, array):
    return Tensor(dtype, array.shape, array.reshape(-1).tolist())


def case(name, op, t, out, attrs):
    size = max([abs(v) for v in out.values] + [1e-9])
    yield op_case(
        f"{op}/{name}",
        op,
        [t],
        out,
        {"eps": 0} | attrs,
        ulp=1,
        abs=size * (2e-7 if complex_of(t.dtype) == "c64" else 2e-15),
    )


def fft(op, t, axis=-1, length=None):
    y = getattr(np.fft, op)(numbers(t), length, axis)
    return tensor(real_of(t.dtype) if op == "irfft" else complex_of(t.dtype), y)


def length_cases():
    for op in ("fft", "ifft", "rfft", "irfft"):
        for dtype in ("f64", "f32") if op == "rfft" else ("c128", "c64"):
            for n in LENGTHS:
                if op == "irfft" and n == 1:
                    continue
                t = Random(f"{op} {dtype} {n}").wide(dtype, (n,))
                yield from case(f"{dtype}/{n}", op, t, fft(op, t), {})
            t = Random(f"{op} {dtype} axes").wide(dtype, (3, 4, 5))
            for axis in (0, 1, 2, -1, -3):
                for n in (None, 2, 7):
                    attrs = {"axis": axis} | ({} if n is None else {"length": n})
                    yield from case(
                        f"{dtype}/axis {axis} of {n}", op, t, fft(op, t, axis, n), attrs
                    )


def dtype_cases():
    for dtype in DTYPES:
        t = Random(f"fft {dtype}").small(dtype, (2, 6))
        for op in ("fft", "ifft", "rfft"):
            yield from case(f"of {dtype}", op, t, fft(op, t), {})
        yield from case(f"of {dtype}", "irfft", t, fft("irfft", t), {})


def two_axes():
    for op in ("fft2", "ifft2"):
        for dtype in ("c128", "c64", "f32"):
            t = Random(f"{op} {dtype}").wide(dtype, (3, 4, 5))
            for axes in (None, [0, 1], [2, 0], [-1, -2]):
                for lengths in (None, [2, 6]):
                    y = getattr(np.fft, op)(numbers(t), lengths, axes or (-2, -1))
                    attrs = ({} if axes is None else {"axes": axes}) | (
                        {} if lengths is None else {"lengths": lengths}
                    )
                    yield from case(
                        f"{dtype}/{axes}{lengths}", op, t, tensor(complex_of(dtype), y), attrs
                    )


def eps_cases():
    # By default, results that should be zero are zero.
    t = Tensor("f32", (8,), [1, 1, 0, 0, 0, 0, 0, 0])
    zeros = Tensor("f32", (2, 8), [0] * 16)
    yield op_case("fft/zeros", "fft", [zeros], Tensor("c64", (2, 8), [0] * 16))
    t = Tensor("f64", (4,), [1, 1e-11, 0, 0])
    yield op_case("fft/eps", "fft", [t], Tensor("c128", (4,), [1 + 1e-11, 1, 1 - 1e-11, 1]), ulp=1)
    yield op_case("fft/eps large", "fft", [t], Tensor("c128", (4,), [0] * 4), {"eps": 2})


def error_cases():
    t = Tensor("f32", (4,), [1, 2, 3, 4])
    for op in ("fft", "ifft", "rfft", "irfft"):
        for name, x, attrs, code in [
            ("scalar", Tensor("f32", (), [1]), {}, "bad_shape"),
            ("empty", Tensor("f32", (0,), []), {}, "bad_shape"),
            ("axis", t, {"axis": 1}, "bad_axis"),
            ("length zero", t, {"length": 0}, "bad_attr"),
            ("length negative", t, {"length": -3}, "bad_attr"),
            ("length huge", t, {"length": 2**62}, "bad_attr"),
            ("eps", t, {"eps": "small"}, "bad_attr"),
            ("unknown", t, {"lengths": [1, 2]}, "bad_attr"),
        ]:
            yield op_case(f"{op}/bad/{name}", op, [x], None, attrs, error=code)
    yield op_case(
        "rfft/bad/complex", "rfft", [Tensor("c64", (2,), [1, 2])], None, error="bad_dtype"
    )
    yield op_case("irfft/bad/one", "irfft", [Tensor("c64", (1,), [1])], None, error="bad_shape")
    m = Tensor("f32", (2, 2), [1, 2, 3, 4])
    for name, x, attrs, code in [
        ("vector", t, {}, "bad_shape"),
        ("axes", m, {"axes": [1]}, "bad_attr"),
        ("same axis", m, {"axes": [1, -1]}, "bad_axis"),
        ("axis", m, {"axes": [0, 2]}, "bad_axis"),
        ("lengths", m, {"lengths": [2]}, "bad_attr"),
        ("length zero", m, {"lengths": [2, 0]}, "bad_attr"),
        ("empty", Tensor("f32", (2, 0), []), {}, "bad_shape"),
    ]:
        yield op_case(f"fft2/bad/{name}", "fft2", [x], None, attrs, error=code)


def cases():
    yield from length_cases()
    yield from dtype_cases()
    yield from two_axes()
    yield from eps_cases()
    yield from error_cases()
