"""sort and argsort."""

import functools

import numpy as np

from cases import op_case
from reference import DTYPES, FLOATS, INF, NAN, Random, Tensor, from_array, specials


def compare(x, y):
    """Ascending: -inf, numbers, inf, NaN."""
    if x != x or y != y:
        return (x != x) - (y != y)
    return (x > y) - (x < y)


def order(values, direction):
    """Positions in stable order."""
    key = functools.cmp_to_key(
        lambda i, j: compare(values[i], values[j])
        if direction == "asc"
        else compare(values[j], values[i])
    )
    return sorted(range(len(values)), key=key)


def along(t, axis, fn, dtype):
    axis %= len(t.shape)
    moved = np.moveaxis(t.array(), axis, -1)
    out = np.empty_like(moved)
    for at in np.ndindex(*moved.shape[:-1]):
        row = np.empty(moved.shape[-1], dtype=object)
        row[:] = fn(list(moved[at]))
        out[at] = row
    return Tensor(dtype, t.shape, np.moveaxis(out, -1, axis).reshape(-1).tolist())


def sort(t, axis=0, direction="asc"):
    return along(t, axis, lambda v: [v[i] for i in order(v, direction)], t.dtype)


def argsort(t, axis=0, direction="asc", dtype="s32"):
    return along(t, axis, lambda v: order(v, direction), dtype)


def attrs_of(axis, direction, **more):
    return (
        ({} if axis is None else {"axis": axis})
        | ({} if direction == "asc" else {"direction": direction})
        | more
    )


def top_k(t, k):
    indices = argsort(t, -1, "desc").array()[..., :k]
    values = np.take_along_axis(t.array(), indices.astype(int), -1)
    return [from_array(t.dtype, values), from_array("s32", indices)]


def top_k_cases():
    for dtype in DTYPES:
        for shape, k in [((8,), 1), ((8,), 8), ((3, 5), 2), ((2, 3, 4), 4), ((0, 4), 2)]:
            t = Random(f"top_k {dtype} {shape}").small(dtype, shape)
            yield op_case(f"top_k/{dtype}/{shape}{k}", "top_k", [t], top_k(t, k), {"k": k})
        t = Random(f"top_k long {dtype}").wide(dtype, (2, 3000))
        yield op_case(f"top_k/long/{dtype}", "top_k", [t], top_k(t, 17), {"k": 17})
    for dtype in FLOATS:
        t = Tensor(dtype, (8,), [1, NAN, 0.0, INF, -INF, -0.0, NAN, 0.0])
        yield op_case(f"top_k/special/{dtype}", "top_k", [t], top_k(t, 8), {"k": 8})
    t = Random("top_k default").small("s32", (6,))
    yield op_case("top_k/default", "top_k", [t], top_k(t, 1))
    yield op_case("top_k/error/k", "top_k", [t], attrs={"k": 7}, error="bad_shape", results=2)
    yield op_case("top_k/error/zero", "top_k", [t], attrs={"k": 0}, error="bad_attr", results=2)
    yield op_case(
        "top_k/error/scalar", "top_k", [Tensor("s32", (), [1])], error="bad_shape", results=2
    )


def cases():
    yield from top_k_cases()
    shapes = [
        ((8,), None),
        ((3, 4), None),
        ((3, 4), 1),
        ((3, 4), -2),
        ((2, 3, 4), 1),
        ((1,), 0),
        ((0,), 0),
        ((2, 0), 1),
        ((2, 0), 0),
        ((2, 1, 4, 1, 3), 2),
    ]
    for dtype in DTYPES:
        for direction in ("asc", "desc"):
            for shape, axis in shapes:
                name = f"{dtype}/{shape}{axis}{direction}"
                rnd = Random(name)
                t = rnd.small(dtype, shape)
                yield op_case(
                    f"sort/{name}",
                    "sort",
                    [t],
                    sort(t, axis or 0, direction),
                    attrs_of(axis, direction),
                )
                yield op_case(
                    f"argsort/stable/{name}",
                    "argsort",
                    [t],
                    argsort(t, axis or 0, direction),
                    attrs_of(axis, direction, stable=True),
                )
                t = rnd.distinct(dtype, shape)
                yield op_case(
                    f"argsort/{name}",
                    "argsort",
                    [t],
                    argsort(t, axis or 0, direction),
                    attrs_of(axis, direction),
                )
            values = [v for v in specials(dtype) if not (v == 0 and str(v)[0] == "-")]
            values = values[::2] + values[1::2]
            t = Tensor(dtype, (len(values),), values)
            yield op_case(
                f"sort/special/{dtype}/{direction}",
                "sort",
                [t],
                sort(t, 0, direction),
                attrs_of(None, direction),
            )
            yield op_case(
                f"argsort/special/{dtype}/{direction}",
                "argsort",
                [t],
                argsort(t, 0, direction),
                attrs_of(None, direction, stable=True),
            )
        rnd = Random(f"sort long {dtype}")
        t = rnd.wide(dtype, (600,))
        yield op_case(f"sort/long/{dtype}", "sort", [t], sort(t))
        yield op_case(f"argsort/long/{dtype}", "argsort", [t], argsort(t), {"stable": True})
    for dtype in FLOATS:
        for direction in ("asc", "desc"):
            t = Tensor(dtype, (7,), [NAN, 1, -INF, NAN, INF, -1, NAN])
            yield op_case(
                f"sort/nan/{dtype}/{direction}",
                "sort",
                [t],
                sort(t, 0, direction),
                attrs_of(None, direction),
            )
            # +0 and -0 are equal, and all NaNs are equal: a stable sort keeps their order.
            t = Tensor(dtype, (6,), [NAN, 0.0, -0.0, NAN, 0.0, -0.0])
            yield op_case(
                f"argsort/ties/{dtype}/{direction}",
                "argsort",
                [t],
                argsort(t, 0, direction),
                attrs_of(None, direction, stable=True),
            )
    t = Random("argsort type").distinct("f32", (9,))
    for dtype in ("s32", "s64"):
        yield op_case(
            f"argsort/type/{dtype}", "argsort", [t], argsort(t, dtype=dtype), {"type": dtype}
        )
