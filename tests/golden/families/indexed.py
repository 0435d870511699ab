"""gather, take, indexed_put, indexed_add."""

import itertools

import numpy as np

from cases import op_case
from reference import (
    DTYPES,
    FLOATS,
    FORMATS,
    INTS,
    Random,
    Tensor,
    from_array,
    merge,
    size_of,
    store,
)

SOME = ["u8", "s32", "s64", "f32", "f64"]


def source(dtype, shape):
    return Tensor(dtype, shape, range(1, size_of(shape) + 1))


def indices(rnd, dtype, shape, dims):
    """Random indices in bounds; the last axis runs over `dims`."""
    rows = [[rnd.ints(0, d - 1, 1)[0] for d in dims] for _ in range(size_of(shape[:-1]))]
    return Tensor(dtype, shape, list(itertools.chain(*rows)))


def index_column(rows):
    return Tensor("s64", (len(rows), 1), rows)


def with_axes_first(t, axes):
    rest = [i for i in range(len(t.shape)) if i not in axes]
    return np.transpose(t.array(), list(axes) + rest), rest


def gather(t, index, axes=None):
    n = index.shape[-1]
    axes = [a % len(t.shape) for a in axes] if axes is not None else list(range(n))
    array, rest = with_axes_first(t, axes)
    shape = list(index.shape[:-1]) + [t.shape[i] for i in rest]
    values = []
    for row in index.array().reshape(-1, n):
        values += np.asarray(array[tuple(row)], dtype=object).reshape(-1).tolist()
    return Tensor(t.dtype, shape, values)


def indexed(op, t, index, updates, axes=None):
    dtype = merge(t.dtype, updates.dtype)
    n = index.shape[-1]
    if len(index.shape) == 1:
        index = Tensor(index.dtype, (1, n), index.values)
        updates = Tensor(updates.dtype, (1,), updates.values)
    axes = [a % len(t.shape) for a in axes] if axes is not None else list(range(n))
    # Sums of small floats are rounded once.
    once = dtype in FORMATS and op == "indexed_add"
    array, rest = with_axes_first(t if once else Tensor(dtype, t.shape, t.values), axes)
    out = array.astype(object) if once else array.copy()
    for row, update in zip(index.array().reshape(-1, n), updates.array()):
        for at in itertools.product(*[range(d) for d in updates.shape[1:]]):
            where = tuple(row) + at
            value = update[at] if at else update
            out[where] = value if op == "indexed_put" else out[where] + value
            if not once:
                out[where] = store(dtype, out[where])
    return from_array(dtype, np.transpose(out, np.argsort(axes + rest)))


def gather_cases():
    for shape, index, axes in [
        ((5,), (3, 1), None),
        ((3, 4), (2, 2), None),
        ((3, 4), (2, 1), None),
        ((3, 4), (1,), None),
        ((3, 4), (2,), None),
        ((3, 4), (2, 1), [1]),
        ((3, 4), (2, 2, 1), [0]),
        ((3, 4), (2, 2), [0, 1]),
        ((2, 3, 4), (5, 2), [0, 2]),
        ((2, 3, 4), (5, 1), [-1]),
        ((2, 3, 4), (2, 2, 3), None),
        ((3, 4), (0, 2), None),
        ((2, 3, 2, 2, 2), (3, 2), [1, 3]),
        ((40, 3), (30, 1), None),
    ]:
        for dtype in SOME:
            rnd = Random(f"gather {shape}{index}{axes}")
            dims = [shape[a] for a in (axes if axes is not None else range(index[-1]))]
            t, i = source(dtype, shape), indices(rnd, "s64", index, dims)
            yield op_case(
                f"gather/{dtype}/{shape}{index}{axes}",
                "gather",
                [t, i],
                gather(t, i, axes),
                {} if axes is None else {"axes": axes},
            )
    for dtype in INTS:
        t, i = source("f32", (4, 3)), Tensor(dtype, (3, 1), [3, 0, 3])
        yield op_case(f"gather/index dtype/{dtype}", "gather", [t, i], gather(t, i))


def take(t, index, axis=0):
    axis %= len(t.shape)
    array = np.take(t.array(), np.array(index.values, dtype=int).reshape(index.shape), axis)
    return from_array(t.dtype, np.asarray(array, dtype=object))


def take_cases():
    for shape, index, axis in [
        ((5,), (3,), None),
        ((5,), (), None),
        ((5,), (2, 2), 0),
        ((3, 4), (2,), 0),
        ((3, 4), (2,), 1),
        ((3, 4), (2, 3), -1),
        ((2, 3, 4), (), 1),
        ((2, 3, 4), (0,), 2),
        ((2, 1, 3, 2, 2), (4,), 2),
        ((3, 4), (2, 1, 2), 0),
    ]:
        for dtype in SOME + ["u16", "s8"]:
            rnd = Random(f"take {shape}{index}{axis}")
            t = source(dtype, shape)
            i = Tensor("s32", index, rnd.ints(0, shape[axis or 0] - 1, size_of(index)))
            yield op_case(
                f"take/{dtype}/{shape}{index}{axis}",
                "take",
                [t, i],
                take(t, i, axis or 0),
                {} if axis is None else {"axis": axis},
            )
    for dtype in INTS:
        t, i = source("s64", (4, 3)), Tensor(dtype, (3,), [3, 0, 3])
        yield op_case(f"take/index dtype/{dtype}", "take", [t, i], take(t, i))


def take_along_axis_cases():
    for shape, axis, count in [
        ((5,), 0, 3),
        ((3, 4), 0, 5),
        ((3, 4), 1, 2),
        ((2, 3, 4), -2, 1),
        ((2, 3, 4), 2, 4),
        ((2, 1, 3, 2), 1, 3),
        ((3, 4), 1, 0),
        ((0, 3), 1, 2),
    ]:
        picked = list(shape)
        picked[axis] = count
        for dtype in SOME + ["u16"]:
            rnd = Random(f"take_along_axis {shape}{axis}")
            t = source(dtype, shape)
            i = Tensor("s32", picked, rnd.ints(0, shape[axis] - 1, size_of(picked)))
            out = np.take_along_axis(t.array(), i.array().astype(int), axis)
            yield op_case(
                f"take_along_axis/{dtype}/{shape}{axis}{count}",
                "take_along_axis",
                [t, i],
                from_array(dtype, out),
                {"axis": axis},
            )
    t = source("f32", (3, 4))
    for name, i, error in [
        ("rank", Tensor("s32", (3,), [0, 1, 2]), "bad_shape"),
        ("shape", Tensor("s32", (2, 4), [0] * 8), "bad_shape"),
        ("dtype", Tensor("f32", (3, 4), [0] * 12), "bad_dtype"),
        ("index", Tensor("s32", (3, 1), [0, 4, 0]), "bad_index"),
        ("negative", Tensor("s32", (3, 1), [0, -1, 0]), "bad_index"),
    ]:
        yield op_case(
            f"take_along_axis/error/{name}",
            "take_along_axis",
            [t, i],
            attrs={"axis": 1},
            error=error,
        )


def indexed_cases():
    table = [
        ((5,), (3, 1), (3,), None),
        ((3, 4), (4, 2), (4,), None),
        ((3, 4), (2, 1), (2, 4), None),
        ((3, 4), (2, 1), (2, 3), [1]),
        ((2, 3, 4), (3, 2), (3, 3), [0, 2]),
        ((2, 3, 4), (2, 1), (2, 2, 3), [-1]),
        ((5,), (0, 1), (0,), None),
        ((3, 4), (2,), (), None),
        ((5,), (1,), (), None),
        ((2, 3, 2, 2, 2), (3, 2), (3, 2, 2, 2), [1, 3]),
        ((20, 3), (50, 1), (50, 3), None),
    ]
    for op in ("indexed_put", "indexed_add"):
        for shape, index, update, axes in table:
            for dtype in SOME:
                rnd = Random(f"indexed {shape}{index}{axes}")
                dims = [shape[a] for a in (axes if axes is not None else range(index[-1]))]
                t, i = source(dtype, shape), indices(rnd, "s64", index, dims)
                u = rnd.small(dtype, update, 1)
                yield op_case(
                    f"{op}/{dtype}/{shape}{index}{update}{axes}",
                    op,
                    [t, i, u],
                    indexed(op, t, i, u, axes),
                    {} if axes is None else {"axes": axes},
                )
        # Nx allows updates that are narrower than the target: they go to the beginning of the row.
        t, i, u = source("s32", (3, 4)), index_column([2, 1]), source("s32", (2, 2))
        yield op_case(f"{op}/narrow updates", op, [t, i, u], indexed(op, t, i, u))
        for dtype in DTYPES:
            t = Random(f"{op} {dtype}").wide(dtype, (4,))
            i = Tensor("s32", (6, 1), [2, 2, 0, 2, 0, 3])
            u = Tensor(dtype, (6,), [1, 2, 3, 4, 5, 6])
            abs_ = 4e-6 if dtype in FLOATS and op == "indexed_add" else None
            yield op_case(f"{op}/duplicates/{dtype}", op, [t, i, u], indexed(op, t, i, u), abs=abs_)
            for other in DTYPES:
                if other != dtype:
                    t, u = source(dtype, (4,)), Tensor(other, (6,), [1, 2, 3, 4, 5, 6])
                    yield op_case(
                        f"{op}/mixed/{dtype},{other}", op, [t, i, u], indexed(op, t, i, u)
                    )
        for dtype in INTS:
            t, i, u = (
                source("f32", (4,)),
                Tensor(dtype, (2, 1), [3, 0]),
                Tensor("f32", (2,), [7, 8]),
            )
            yield op_case(f"{op}/index dtype/{dtype}", op, [t, i, u], indexed(op, t, i, u))


def cases():
    yield from gather_cases()
    yield from take_cases()
    yield from take_along_axis_cases()
    yield from indexed_cases()
