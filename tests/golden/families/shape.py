"""Ops that move elements and compute nothing."""

import numpy as np

from cases import op_case
from reference import DTYPES, Random, Tensor, as_type, from_array, merge, size_of, specials, wrap

SOME = ["u8", "s32", "s64", "f32", "f64", "u16"]


def source(dtype, shape):
    """Distinct values, if the dtype has enough."""
    return Tensor(dtype, shape, range(size_of(shape)))


def reshape_cases():
    for a, b in [
        ((6,), (2, 3)),
        ((2, 3), (6,)),
        ((2, 3), (3, 2)),
        ((), (1, 1)),
        ((1,), ()),
        ((0,), (3, 0)),
        ((2, 3, 4), (4, 6)),
        ((2, 1, 3, 1, 2), (12,)),
        ((4,), (4,)),
    ]:
        for dtype in SOME:
            t = source(dtype, a)
            yield op_case(
                f"reshape/{dtype}/{a}{b}",
                "reshape",
                [t],
                Tensor(dtype, b, t.values),
                {"shape": list(b)},
            )


def squeeze_cases():
    for shape, axes in [
        ((1, 3, 1), None),
        ((1, 3, 1), [0]),
        ((1, 3, 1), [-1]),
        ((1, 1), None),
        ((2, 3), None),
        ((), None),
        ((1, 3, 1), []),
        ((1, 0), [0]),
        ((1, 2, 1, 2, 1), [4, 0]),
    ]:
        t = source("f32", shape)
        drop = (
            {a % len(shape) for a in axes}
            if axes is not None
            else {i for i, d in enumerate(shape) if d == 1}
        )
        out = tuple(d for i, d in enumerate(shape) if i not in drop)
        yield op_case(
            f"squeeze/{shape}{axes}",
            "squeeze",
            [t],
            Tensor("f32", out, t.values),
            {} if axes is None else {"axes": axes},
        )


def transpose_cases():
    for shape, axes in [
        ((2, 3), None),
        ((2, 3), [0, 1]),
        ((2, 3), [1, 0]),
        ((2, 3), [-1, -2]),
        ((), None),
        ((5,), None),
        ((2, 3, 4), None),
        ((2, 3, 4), [1, 2, 0]),
        ((2, 3, 4), [0, 2, 1]),
        ((2, 0, 3), [2, 1, 0]),
        ((), []),
        ((2, 1, 3, 2, 2), [4, 2, 0, 3, 1]),
        ((33, 17), None),
    ]:
        for dtype in SOME:
            t = source(dtype, shape)
            out = from_array(dtype, np.transpose(t.array(), axes))
            yield op_case(
                f"transpose/{dtype}/{shape}{axes}",
                "transpose",
                [t],
                out,
                {} if axes is None else {"axes": axes},
            )


def broadcast_cases():
    for shape, new, axes in [
        ((), (3,), None),
        ((), (), None),
        ((3,), (2, 3), None),
        ((1,), (3,), None),
        ((2, 1), (2, 3), None),
        ((3,), (2, 3), [1]),
        ((2,), (2, 3), [0]),
        ((2, 3), (2, 4, 3), [0, 2]),
        ((1, 3), (5, 4, 3), [0, 2]),
        ((), (2, 2), []),
        ((1,), (0,), None),
        ((0,), (3, 0), None),
        ((2,), (2, 1, 3, 1, 2), [0]),
        ((2, 3), (2, 3), None),
        ((2,), (3, 2), [-1]),
    ]:
        for dtype in SOME:
            t = source(dtype, shape)
            where = axes if axes is not None else list(range(len(new) - len(shape), len(new)))
            middle = [1] * len(new)
            for i, axis in enumerate(where):
                middle[axis] = shape[i]
            out = from_array(dtype, np.broadcast_to(t.array().reshape(middle), new))
            attrs = {"shape": list(new)} | ({} if axes is None else {"axes": axes})
            yield op_case(f"broadcast/{dtype}/{shape}{new}{axes}", "broadcast", [t], out, attrs)


def clamp(shape, starts, lengths):
    return [max(0, min(s, d - n)) for s, d, n in zip(starts, shape, lengths)]


def slice_cases():
    table = [
        ((5,), [1], [3], None),
        ((5,), [1], [4], [2]),
        ((5,), [0], [5], [3]),
        ((5,), [4], [3], None),
        ((5,), [-2], [3], None),
        ((5,), [1000000], [1], None),
        ((4, 5), [1, 2], [2, 3], None),
        ((4, 5), [1, 0], [3, 5], [2, 2]),
        ((4, 5), [9, -9], [1, 2], None),
        ((), [], [], None),
        ((3, 4, 2), [0, 1, 0], [3, 2, 2], [1, 1, 1]),
        ((2, 3, 1, 2, 3), [1, 0, 0, 0, 1], [1, 2, 1, 2, 2], None),
    ]
    for shape, starts, lengths, strides in table:
        at = clamp(shape, starts, lengths)
        index = tuple(
            slice(a, a + n, s) for a, n, s in zip(at, lengths, strides or [1] * len(shape))
        )
        attrs = {"lengths": lengths} | ({} if strides is None else {"strides": strides})
        for dtype in SOME:
            t = source(dtype, shape)
            array = t.array()[index]
            out = from_array(dtype, array) if shape else t
            name = f"{dtype}/{shape}{starts}{lengths}{strides}"
            yield op_case(f"slice/literal/{name}", "slice", [t] + starts, out, attrs)
            scalars = [Tensor("s64", (), [s]) for s in starts]
            if starts:
                yield op_case(f"slice/tensor/{name}", "slice", [t] + scalars, out, attrs)
    t = source("s32", (5,))
    for dtype, start, at in [
        ("u8", 2, 2),
        ("s8", -1, 0),
        ("u64", (1 << 64) - 1, 3),
        ("s64", -(1 << 63), 0),
        ("s32", 1, 1),
        ("u32", 4294967295, 3),
    ]:
        yield op_case(
            f"slice/start dtype/{dtype}",
            "slice",
            [t, Tensor(dtype, (), [start])],
            Tensor("s32", (2,), [at, at + 1]),
            {"lengths": [2]},
        )


def put_slice_cases():
    table = [
        ((5,), (2,), [1]),
        ((5,), (2,), [4]),
        ((5,), (5,), [0]),
        ((5,), (2,), [-3]),
        ((4, 5), (2, 2), [1, 2]),
        ((4, 5), (1, 5), [3, 0]),
        ((4, 5), (2, 2), [100, -100]),
        ((2, 3, 1, 2, 3), (1, 2, 1, 2, 2), [1, 0, 0, 0, 1]),
        ((3, 4), (3, 4), [2, 2]),
    ]
    for shape, part, starts in table:
        at = clamp(shape, starts, part)
        index = tuple(slice(a, a + n) for a, n in zip(at, part))
        for dtype in SOME:
            t, s = source(dtype, shape), Tensor(dtype, part, [50 + i for i in range(size_of(part))])
            array = t.array()
            array[index] = s.array()
            out = from_array(dtype, array)
            name = f"{dtype}/{shape}{part}{starts}"
            yield op_case(f"put_slice/literal/{name}", "put_slice", [t, s] + starts, out)
            scalars = [Tensor("s32", (), [x]) for x in starts]
            yield op_case(f"put_slice/tensor/{name}", "put_slice", [t, s] + scalars, out)
    yield op_case(
        "put_slice/scalar",
        "put_slice",
        [Tensor("f32", (), [1]), Tensor("f32", (), [2])],
        Tensor("f32", (), [2]),
    )
    for a in DTYPES:
        for b in DTYPES:
            if a != b:
                t, s, dtype = source(a, (4,)), Tensor(b, (2,), [8, 9]), merge(a, b)
                yield op_case(
                    f"put_slice/mixed/{a},{b}",
                    "put_slice",
                    [t, s, 1],
                    Tensor(dtype, (4,), [0, 8, 9, 3]),
                )


def concatenate_cases():
    for shapes, axis in [
        ([(2,), (3,)], None),
        ([(2,), (3,), (1,)], 0),
        ([(2, 3), (2, 1)], 1),
        ([(2, 3), (4, 3)], -2),
        ([(3,)], None),
        ([(0,), (2,)], 0),
        ([(2, 2, 1, 1, 2), (2, 2, 3, 1, 2)], 2),
        ([(1, 2)] * 5, 0),
    ]:
        for dtype in SOME:
            parts = [
                Tensor(dtype, s, [10 * i + j for j in range(size_of(s))])
                for i, s in enumerate(shapes)
            ]
            out = from_array(dtype, np.concatenate([p.array() for p in parts], axis or 0))
            yield op_case(
                f"concatenate/{dtype}/{shapes}{axis}",
                "concatenate",
                parts,
                out,
                {} if axis is None else {"axis": axis},
            )
    for types in [["u8", "s8"], ["s32", "f32"], ["u8", "u16", "s8"], ["f32", "f64", "u8"]]:
        parts = [Tensor(t, (2,), [1, 2]) for t in types]
        dtype = types[0]
        for t in types[1:]:
            dtype = merge(dtype, t)
        yield op_case(
            f"concatenate/mixed/{types}",
            "concatenate",
            parts,
            Tensor(dtype, (2 * len(types),), [1, 2] * len(types)),
        )


def reverse_cases():
    for shape, axes in [
        ((5,), None),
        ((2, 3), None),
        ((2, 3), [0]),
        ((2, 3), [1]),
        ((2, 3), []),
        ((), None),
        ((0, 2), None),
        ((2, 3, 4), [0, -1]),
        ((2, 1, 3, 2, 2), [1, 2, 4]),
    ]:
        for dtype in SOME:
            t = source(dtype, shape)
            where = range(len(shape)) if axes is None else axes
            out = from_array(dtype, np.flip(t.array(), tuple(where))) if shape else t
            yield op_case(
                f"reverse/{dtype}/{shape}{axes}",
                "reverse",
                [t],
                out,
                {} if axes is None else {"axes": axes},
            )


def as_type_cases():
    for a in DTYPES:
        values = specials(a)
        if a[0] == "f":
            values += [
                255.9,
                -1.5,
                256.0,
                300.7,
                -129.0,
                2147483648.0,
                3e9,
                -3e9,
                1e19,
                -1e19,
                9.3e18,
                65535.5,
                0.999,
                -0.999,
                4294967296.0,
            ]
        else:
            # Ties of the rounding to f32, which go to even.
            values += [wrap(a, v) for v in (16777217, 16777219, (1 << 53) + 1, (1 << 53) + 3)]
        t = Tensor(a, (len(values),), values)
        for b in DTYPES:
            yield op_case(f"as_type/{a},{b}", "as_type", [t], as_type(t, b), {"type": b})
    for shape in [(), (0,), (2, 1, 3)]:
        t = Random(f"as_type {shape}").small("s32", shape)
        yield op_case(f"as_type/shape/{shape}", "as_type", [t], as_type(t, "f32"), {"type": "f32"})


def cases():
    for part in (
        reshape_cases,
        squeeze_cases,
        transpose_cases,
        broadcast_cases,
        slice_cases,
        put_slice_cases,
        concatenate_cases,
        reverse_cases,
        as_type_cases,
    ):
        yield from part()
