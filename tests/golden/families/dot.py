"""dot: contraction and batch axes."""

import numpy as np

from cases import op_case
from reference import DTYPES, FLOATS, INF, NAN, Random, Tensor, binary, merge, size_of

# left shape, right shape, left axes, left batch axes, right axes, right batch axes
DEFAULTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((2, 3, 4), (4,)),
    ((2, 3, 4), (4, 2)),
    ((2, 3), (2, 3, 4)),
    ((2, 2, 3), (2, 3, 2)),
    ((), (3,)),
    ((2, 3), ()),
    ((), ()),
    ((1, 1), (1, 1)),
    ((5, 1), (1, 7)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 3)),
    ((4,), (2, 4, 3)),
]
EXPLICIT = [
    ((2, 3), (3, 4), [1], [], [0], []),
    ((2, 3), (2, 4), [0], [], [0], []),
    ((2, 3), (4, 3), [-1], [], [-1], []),
    ((2, 3), (2, 3), [0, 1], [], [0, 1], []),
    ((2, 3), (3, 2), [0, 1], [], [1, 0], []),
    ((2, 3), (4, 5), [], [], [], []),
    ((2, 3, 4), (2, 4, 5), [2], [0], [1], [0]),
    ((2, 3), (2, 3), [1], [0], [1], [0]),
    ((2, 3, 4), (2, 3, 4), [2], [0, 1], [2], [0, 1]),
    ((2, 3, 4, 5), (2, 4, 3, 6), [1, 2], [0], [2, 1], [0]),
    ((2, 4, 3), (2, 5, 3), [2], [0], [2], [0]),
    ((0, 2, 3), (0, 3, 2), [2], [0], [1], [0]),
    ((2, 3, 2, 2, 2), (2, 2, 3), [2, 4], [0], [1], [0]),
][:-1]


def dot(x, y, left=None, left_batch=(), right=None, right_batch=()):
    if left is None:
        if not x.shape or not y.shape:
            return binary("multiply", x, y)
        left = [len(x.shape) - 1]
        right = [0 if len(y.shape) == 1 else len(y.shape) - 2]
    left, left_batch = [[a % len(x.shape) for a in axes] for axes in (left, left_batch)]
    right, right_batch = [[a % len(y.shape) for a in axes] for axes in (right, right_batch)]
    x_rest = [i for i in range(len(x.shape)) if i not in left + left_batch]
    y_rest = [i for i in range(len(y.shape)) if i not in right + right_batch]
    batch = [x.shape[i] for i in left_batch]
    k, b = size_of([x.shape[i] for i in left]), size_of(batch)
    m, n = size_of([x.shape[i] for i in x_rest]), size_of([y.shape[i] for i in y_rest])
    xs = np.transpose(x.array(), left_batch + x_rest + left).reshape(b, m, k)
    ys = np.transpose(y.array(), right_batch + y_rest + right).reshape(b, n, k)
    values = [
        sum((p * q for p, q in zip(row, column)), 0)
        for i in range(b)
        for row in xs[i]
        for column in ys[i]
    ]
    shape = batch + [x.shape[i] for i in x_rest] + [y.shape[i] for i in y_rest]
    return Tensor(merge(x.dtype, y.dtype), shape, values)


def tolerance(dtype):
    """Integers are exact in any order of additions, except for the sign of a zero."""
    return {"abs": 1e-30} if dtype in FLOATS else {}


def attrs_of(axes):
    left, left_batch, right, right_batch = axes
    attrs = {"left_axes": left, "right_axes": right}
    if left_batch:
        attrs |= {"left_batch_axes": left_batch, "right_batch_axes": right_batch}
    return attrs


def cases():
    for dtype in DTYPES:
        rnd = Random(f"dot {dtype}")
        for a, b in DEFAULTS:
            x, y = rnd.small(dtype, a), rnd.small(dtype, b)
            yield op_case(f"dot/{dtype}/{a}{b}", "dot", [x, y], dot(x, y), **tolerance(dtype))
        for a, b, *axes in EXPLICIT:
            x, y = rnd.small(dtype, a), rnd.small(dtype, b)
            yield op_case(
                f"dot/{dtype}/{a}{b}{axes}",
                "dot",
                [x, y],
                dot(x, y, *axes),
                attrs_of(axes),
                **tolerance(dtype),
            )
        if dtype not in FLOATS:
            x, y = rnd.wide(dtype, (5, 7)), rnd.wide(dtype, (7, 3))
            yield op_case(f"dot/wrap/{dtype}", "dot", [x, y], dot(x, y))
        for other in DTYPES:
            if other != dtype:
                x, y = rnd.small(dtype, (2, 3)), rnd.small(other, (3, 2))
                yield op_case(
                    f"dot/mixed/{dtype},{other}",
                    "dot",
                    [x, y],
                    dot(x, y),
                    **tolerance(merge(dtype, other)),
                )
    for dtype in FLOATS:
        rnd = Random(f"dot random {dtype}")
        for a, b, *axes in [
            ((17, 33), (33, 9)),
            ((3, 5, 40), (3, 40, 6), [2], [0], [1], [0]),
            ((40, 20), (40, 11), [0], [], [0], []),
            ((300,), (300,)),
        ]:
            x, y = rnd.wide(dtype, a), rnd.wide(dtype, b)
            scale = max(map(abs, x.values)) * max(map(abs, y.values)) * 40
            yield op_case(
                f"dot/random/{dtype}/{a}{b}",
                "dot",
                [x, y],
                dot(x, y, *axes),
                attrs_of(axes) if axes else {},
                ulp=1,
                abs=scale * 2.0 ** (-24 if dtype == "f32" else -53) * 16,
            )
        for i, (v, w) in enumerate(
            [([NAN, 1], [1, 1]), ([INF, 1], [1, 2]), ([INF, 1], [0, 2]), ([INF, 1], [1, -INF])]
        ):
            x, y = Tensor(dtype, (1, 2), v), Tensor(dtype, (2, 1), w)
            yield op_case(f"dot/special/{dtype}/{i}", "dot", [x, y], dot(x, y))
    x = Random("dot literal").small("s32", (4,))
    yield op_case("dot/literal", "dot", [x, 3], binary("multiply", x, 3))
