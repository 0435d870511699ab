"""Ops without tensor operands: from_binary, constant, iota, eye; and fill."""

import numpy as np

from cases import op_case
from reference import DTYPES, FLOATS, INF, INTS, NAN, Random, Tensor, int_range, size_of, specials


def iota(dtype, shape, axis=None):
    if axis is None:
        return Tensor(dtype, shape, range(size_of(shape)))
    index = np.indices(shape)[axis].reshape(-1).tolist()
    return Tensor(dtype, shape, index)


def eye(dtype, shape):
    rows = np.indices(shape)[-2].reshape(-1)
    columns = np.indices(shape)[-1].reshape(-1)
    return Tensor(dtype, shape, [int(r == c) for r, c in zip(rows, columns)])


def cases():
    for dtype in DTYPES:
        values = specials(dtype)[:8]
        for shape in [(8,), (2, 4), (2, 1, 4), (2, 2, 1, 2, 1)]:
            t = Tensor(dtype, shape, values)
            yield op_case(
                f"from_binary/{dtype}/{shape}",
                "from_binary",
                [],
                t,
                {"type": dtype, "shape": list(shape), "data": t.wire()["data"]},
            )
        for shape in [(), (0,), (3, 0)]:
            t = Tensor(dtype, shape, values[2 : 2 + size_of(shape)])
            yield op_case(
                f"from_binary/{dtype}/{shape}",
                "from_binary",
                [],
                t,
                {"type": dtype, "shape": list(shape), "data": t.wire()["data"]},
            )
        numbers = [0, 1, 3] + (
            [0.5, -1.25, 1e10, NAN, INF, -INF, -0.0]
            if dtype in FLOATS
            else [v for v in int_range(dtype) if v]
        )
        for number in numbers:
            wire = {NAN: "nan", INF: "infinity", -INF: "neg_infinity"}.get(number, number)
            wire = "nan" if number != number else wire
            yield op_case(
                f"constant/{dtype}/{number!r}",
                "constant",
                [],
                Tensor(dtype, (2, 3), [number] * 6),
                {"value": wire, "type": dtype, "shape": [2, 3]},
            )
        for shape in [(), (0, 2), (1, 1, 1, 1, 5)]:
            yield op_case(
                f"constant/{dtype}/{shape}",
                "constant",
                [],
                Tensor(dtype, shape, [7] * size_of(shape)),
                {"value": 7, "type": dtype, "shape": list(shape)},
            )
        for shape, axis in [
            ((), None),
            ((5,), None),
            ((2, 3), None),
            ((5,), 0),
            ((2, 3), 0),
            ((2, 3), 1),
            ((2, 3, 2), -2),
            ((0,), 0),
            ((2, 0), None),
            ((2, 1, 3, 1, 2), 2),
            ((300,), 0),
        ]:
            # As in Nx, an iota of integers wraps at the limits of the dtype.
            attrs = {"type": dtype, "shape": list(shape)}
            if axis is not None:
                attrs["axis"] = axis
            yield op_case(
                f"iota/{dtype}/{shape},{axis}", "iota", [], iota(dtype, shape, axis), attrs
            )
        for shape in [(1, 1), (3, 3), (2, 4), (4, 2), (2, 2, 3), (2, 1, 2, 3, 3), (0, 0)]:
            yield op_case(
                f"eye/{dtype}/{shape}",
                "eye",
                [],
                eye(dtype, shape),
                {"type": dtype, "shape": list(shape)},
            )
        for shape in [(), (5,), (2, 3), (0,)]:
            t = Random(f"fill {dtype} {shape}").small(dtype, shape)
            yield op_case(
                f"fill/literal/{dtype}/{shape}",
                "fill",
                [t, 5],
                Tensor(dtype, shape, [5] * size_of(shape)),
            )
            yield op_case(
                f"fill/tensor/{dtype}/{shape}",
                "fill",
                [t, Tensor(dtype, (), [9])],
                Tensor(dtype, shape, [9] * size_of(shape)),
            )
    for dtype in FLOATS:
        t = Tensor(dtype, (4,), [1, 2, 3, 4])
        for number in [NAN, -INF, 0.1]:
            yield op_case(
                f"fill/special/{dtype}/{number!r}",
                "fill",
                [t, number],
                Tensor(dtype, (4,), [number] * 4),
            )
    for dtype in INTS:
        low, high = int_range(dtype)
        t = Tensor(dtype, (3,), [1, 2, 3])
        for number in (low, high):
            yield op_case(
                f"fill/special/{dtype}/{number}",
                "fill",
                [t, number],
                Tensor(dtype, (3,), [number] * 3),
            )
