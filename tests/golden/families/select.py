"""select and clip."""

from cases import op_case
from reference import (
    DTYPES,
    FLOATS,
    INF,
    INTS,
    NAN,
    Random,
    Tensor,
    broadcast_shapes,
    broadcast_values,
    int_range,
    merge,
    merge_number,
    store,
    type_of,
)


def select(pred, on_true, on_false):
    shapes = [x.shape if isinstance(x, Tensor) else () for x in (on_true, on_false)]
    shape = pred.shape or broadcast_shapes(*shapes)
    dtype = type_of(on_true, on_false)
    pick = [
        broadcast_values(x, shape)
        if isinstance(x, Tensor)
        else broadcast_values(Tensor(dtype, (), [x]), shape)
        for x in (on_true, on_false)
    ]
    mask = broadcast_values(pred, shape)
    return Tensor(dtype, shape, [t if p != 0 else f for p, t, f in zip(mask, *pick)])


def clip(t, low, high):
    """NaN stays NaN, as in XLA; Nx.BinaryBackend gives `low`."""
    dtype = t.dtype
    for x in (low, high):
        dtype = merge(dtype, x.dtype) if isinstance(x, Tensor) else merge_number(dtype, x)
    low, high = [x.values[0] if isinstance(x, Tensor) else store(dtype, x) for x in (low, high)]
    out = []
    for x in t.values:
        out.append(x if x != x else min(max(x, low), high))
    return Tensor(dtype, t.shape, out)


def select_cases():
    for dtype in DTYPES:
        rnd = Random(f"select {dtype}")
        pred = rnd.small(dtype, (11,), -1, 1)
        a, b = rnd.wide(dtype, (11,)), rnd.wide(dtype, (11,))
        yield op_case(f"select/{dtype}", "select", [pred, a, b], select(pred, a, b))
        for other in DTYPES:
            if other != dtype:
                x, y = rnd.small(dtype, (4,)), rnd.small(other, (4,))
                p = Tensor("u8", (4,), [1, 0, 0, 1])
                yield op_case(f"select/mixed/{dtype},{other}", "select", [p, x, y], select(p, x, y))
    for p, a, b in [
        ((), (3,), (3,)),
        ((), (2, 1), (3,)),
        ((3,), (), ()),
        ((2, 3), (3,), (2, 1)),
        ((2, 3), (), (2, 3)),
        ((), (), ()),
        ((0,), (0,), ()),
        ((2, 2, 1, 1, 2), (2,), (1,)),
    ]:
        for truth in (0, 1) if p == () else (2,):
            rnd = Random(f"select {p} {a} {b} {truth}")
            pred = Tensor("u8", p, [truth]) if p == () else rnd.small("u8", p, 0, 1)
            x, y = rnd.small("f32", a), rnd.small("f32", b)
            yield op_case(
                f"select/broadcast/{p}{a}{b}/{truth}", "select", [pred, x, y], select(pred, x, y)
            )
    for value in [NAN, -0.0, INF, 1e-40]:
        pred = Tensor("f32", (2,), [value, 0.0])
        x, y = Tensor("s32", (2,), [1, 2]), Tensor("s32", (2,), [3, 4])
        yield op_case(f"select/float pred/{value!r}", "select", [pred, x, y], select(pred, x, y))
    pred = Tensor("u8", (3,), [0, 1, 2])
    for dtype, number in [
        ("u8", 7),
        ("u8", 300),
        ("s32", 1.5),
        ("f32", 2),
        ("s64", -1),
        ("f64", NAN),
        ("f32", 0.1),
    ]:
        x = Random(f"select literal {dtype}").small(dtype, (3,))
        yield op_case(
            f"select/literal/{dtype},{number!r}",
            "select",
            [pred, x, number],
            select(pred, x, number),
        )
        yield op_case(
            f"select/literal/{number!r},{dtype}",
            "select",
            [pred, number, x],
            select(pred, number, x),
        )


def clip_cases():
    for dtype in INTS:
        low, high = int_range(dtype)
        t = Tensor(dtype, (8,), [low, low + 1, 0, 1, 5, 10, high - 1, high])
        for a, b in [(1, 5), (0, 0), (5, 1), (low, high)]:
            args = [t, Tensor(dtype, (), [a]), Tensor(dtype, (), [b])]
            yield op_case(f"clip/{dtype}/{a},{b}", "clip", args, clip(*args))
        yield op_case(f"clip/literal/{dtype}", "clip", [t, 1, 5], clip(t, 1, 5))
    for dtype in FLOATS:
        t = Tensor(dtype, (9,), [-1.5, 0.0, 0.25, 1.0, 7.5, NAN, INF, -INF, 1e-40])
        for a, b in [(-0.5, 0.5), (0.25, 0.25), (2.0, 1.0), (-INF, INF)]:
            args = [t, Tensor(dtype, (), [a]), Tensor(dtype, (), [b])]
            yield op_case(f"clip/{dtype}/{a!r},{b!r}", "clip", args, clip(*args))
            yield op_case(f"clip/literal/{dtype}/{a!r},{b!r}", "clip", [t, a, b], clip(t, a, b))
    for a, b, c in [
        ("u8", "s8", "u8"),
        ("s32", "f32", "s32"),
        ("f32", "s64", "f64"),
        ("u16", "u8", "u32"),
    ]:
        args = [Tensor(a, (5,), [0, 2, 4, 6, 8]), Tensor(b, (), [2]), Tensor(c, (), [6])]
        yield op_case(f"clip/mixed/{a},{b},{c}", "clip", args, clip(*args))
    for shape in [(), (0,), (2, 1, 3)]:
        t = Random(f"clip {shape}").small("s32", shape)
        yield op_case(f"clip/shape/{shape}", "clip", [t, -2, 2], clip(t, -2, 2))
    t = Tensor("s32", (3,), [-1, 0, 4])
    yield op_case("clip/literal/float on ints", "clip", [t, 0.5, 3], clip(t, 0.5, 3))


def cases():
    yield from select_cases()
    yield from clip_cases()
