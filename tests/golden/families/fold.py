"""reduce, window_reduce and map, with regions that are lifted to tiles and regions that are not."""

import itertools

import numpy as np

from cases import Number, Region, program_case
from families.window import LARGE, WINDOWS, attrs_of, elements, filled, out_shape
from reference import DTYPES, FLOATS, INTS, NAN, Random, Tensor, is_float, size_of, store


def one(op):
    return lambda r, x, acc: r.op(op, x, acc)


def horner(r, x, acc):
    """acc × 3 + x: neither associative nor commutative."""
    return r.op("add", r.op("multiply", acc, Number(3)), x)


def squares(r, x, acc):
    return r.op("add", acc, r.op("multiply", x, x))


def count_larger(r, x, acc):
    """A region with cond, which is not elementwise: it runs once for each element."""
    yes, no = r.child(), r.child()
    same = no.op("add", acc, Number(0))
    more = yes.op("add", acc, Number(1))
    return r.op("cond", r.op("greater", x, Number(2)), regions=[yes.done(more), no.done(same)])


def by_tensor(r, x, acc):
    """A region that makes a tensor and sums it."""
    wide = r.op("broadcast", x, attrs={"shape": [3]})
    return r.op("subtract", r.op("reduce_max", wide), acc)


REGIONS = {
    "add": (one("add"), lambda x, a: x + a),
    "max": (one("max"), max),
    "multiply": (one("multiply"), lambda x, a: x * a),
    "horner": (horner, lambda x, a: a * 3 + x),
    "squares": (squares, lambda x, a: a + x * x),
    "element": (lambda r, x, acc: x, lambda x, a: x),
    "accumulator": (lambda r, x, acc: acc, lambda x, a: a),
    "cond": (count_larger, lambda x, a: a + (1 if x > 2 else 0)),
    "tensor": (by_tensor, lambda x, a: x - a),
}
AXES = [
    ((), None),
    ((5,), None),
    ((5,), [0]),
    ((2, 3), None),
    ((2, 3), [0]),
    ((2, 3), [1]),
    ((2, 3), []),
    ((2, 3, 4), [1]),
    ((2, 3, 4), [0, 2]),
    ((2, 3, 4), [2, 0]),
    ((2, 1, 3, 2, 2), [1, 3]),
    ((2, 0), [1]),
    ((2, 0), [0]),
    ((0,), None),
]


def folded(dtype, f, start, values):
    acc = start
    for x in values:
        acc = store(dtype, f(x, acc))
    return acc


def reduce(t, dtype, start, f, axes, keep=False):
    rank = len(t.shape)
    where = list(range(rank)) if axes is None else sorted(a % rank for a in axes)
    rest = [i for i in range(rank) if i not in where]
    rows = np.transpose(t.array(), rest + where).reshape(
        size_of([t.shape[i] for i in rest]), size_of([t.shape[i] for i in where])
    )
    shape = (
        [1 if i in where else d for i, d in enumerate(t.shape)]
        if keep
        else [t.shape[i] for i in rest]
    )
    return Tensor(dtype, shape, [folded(dtype, f, start, list(row)) for row in rows])


def program(op, region, attrs, acc=True):
    top = Region(2 if acc else 1)
    inner = top.child(2 if acc else 1)
    out = inner.done(region(inner, *inner.params))
    return top.done(top.op(op, *top.params, attrs=attrs, regions=[out]))


def reduce_cases():
    for name, (region, f) in REGIONS.items():
        for dtype in DTYPES if name in ("add", "horner") else ("s32", "f32", "u8"):
            for i, (shape, axes) in enumerate(AXES):
                t = Random(f"reduce {name} {dtype} {i}").small(dtype, shape, -3, 4)
                attrs = {} if axes is None else {"axes": axes}
                out = reduce(t, dtype, store(dtype, 2), f, axes)
                yield program_case(
                    f"reduce/{name}/{dtype}/{i}",
                    program("reduce", region, attrs),
                    [t, Tensor(dtype, (), [2])],
                    out,
                )
    t = Random("reduce keep").small("s32", (2, 3, 4))
    for axes in (None, [1], [0, 2]):
        attrs = {"keep_axes": True} | ({} if axes is None else {"axes": axes})
        yield program_case(
            f"reduce/keep/{axes}",
            program("reduce", horner, attrs),
            [t, Tensor("s32", (), [1])],
            reduce(t, "s32", 1, REGIONS["horner"][1], axes, True),
        )
    for i, (shape, axes) in enumerate(
        [
            ((3000,), [0]),
            ((9, 2000), [0]),
            ((2000, 9), [0]),
            ((300, 40), [1]),
            ((40, 300), [1]),
            ((5, 30, 7), [1]),
        ]
    ):
        for name in ("add", "horner", "max", "squares"):
            t = Random(f"reduce long {i}").small("s16", shape)
            yield program_case(
                f"reduce/long/{name}/{i}",
                program("reduce", REGIONS[name][0], {"axes": axes}),
                [t, Tensor("s16", (), [5])],
                reduce(t, "s16", 5, REGIONS[name][1], axes),
            )
    # Lanes: few results, with more elements than a block of lanes.
    for shape, axes in [
        ((9001,), None),
        ((2, 5001), [1]),
        ((5001, 3), [0]),
        ((70001,), None),
        ((3, 2, 2501), [0, 2]),
    ]:
        for name, dtype in (("add", "u8"), ("max", "s8"), ("add", "s8")):
            t = Random(f"lanes {name} {dtype} {shape}").wide(dtype, shape)
            yield program_case(
                f"reduce/lanes/{name}/{dtype}/{shape}",
                program("reduce", REGIONS[name][0], {} if axes is None else {"axes": axes}),
                [t, Tensor(dtype, (), [3])],
                reduce(t, dtype, 3, REGIONS[name][1], axes),
            )
    # The dtype is the common dtype of the operands, or `type`; the region's result is cast to it.
    t, acc = Tensor("u8", (3,), [1, 2, 250]), Tensor("s16", (), [-5])
    yield program_case(
        "reduce/merged", program("reduce", one("add"), {}), [t, acc], Tensor("s16", (), [248])
    )
    yield program_case(
        "reduce/type",
        program("reduce", one("add"), {"type": "f32"}),
        [t, acc],
        Tensor("f32", (), [248]),
    )
    yield program_case(
        "reduce/cast",
        program("reduce", lambda r, x, a: r.op("divide", x, Number(2)), {"type": "s32"}),
        [t, acc],
        Tensor("s32", (), [125]),
    )
    top = Region(3)
    inner = top.child(2)
    out = inner.done(
        inner.op("add", inner.op("multiply", inner.params[0], top.params[2]), inner.params[1])
    )
    scaled = top.done(
        top.op("reduce", top.params[0], top.params[1], attrs={"axes": [1]}, regions=[out])
    )
    t = Random("captured").small("f32", (3, 4))
    yield program_case(
        "reduce/captured",
        scaled,
        [t, Tensor("f32", (), [1]), Tensor("f32", (), [10])],
        reduce(t, "f32", 1, lambda x, a: x * 10 + a, [1]),
    )
    top = Region(1)
    inner = top.child(2)
    out = inner.done(inner.op("add", *inner.params))
    yield program_case(
        "reduce/literal",
        top.done(top.op("reduce", top.params[0], Number(7), regions=[out])),
        [Tensor("u8", (2,), [1, 2])],
        Tensor("u8", (), [10]),
    )
    top = Region(1)
    inner = top.child(2)
    ten = inner.op("constant", attrs={"value": 10, "type": "s32", "shape": []})
    out = inner.done(
        inner.op(
            "add",
            inner.op("reshape", inner.params[0], attrs={"shape": []}),
            inner.op("add", ten, inner.params[1]),
        )
    )
    yield program_case(
        "reduce/constant",
        top.done(top.op("reduce", top.params[0], Number(0), regions=[out])),
        [Tensor("s32", (2,), [1, 2])],
        Tensor("s32", (), [23]),
    )
    yield program_case(
        "reduce/nan",
        program("reduce", one("max"), {}),
        [Tensor("f32", (3,), [1, NAN, 2]), Tensor("f32", (), [0])],
        Tensor("f32", (), [NAN]),
    )


def error_cases():
    t, s = Tensor("s32", (3,), [1, 2, 3]), Tensor("s32", (), [0])
    bad = lambda name, *rest: program_case(f"reduce/bad/{name}", *rest[:2], error=rest[2])
    yield bad("acc", program("reduce", one("add"), {}), [t, t], "bad_shape")
    yield bad("axis", program("reduce", one("add"), {"axes": [1]}), [t, s], "bad_axis")
    yield bad(
        "shape",
        program("reduce", lambda r, x, a: r.op("broadcast", x, attrs={"shape": [2]}), {}),
        [t, s],
        "bad_shape",
    )
    yield bad(
        "inside",
        program("reduce", lambda r, x, a: r.op("sum", x, attrs={"axes": [0]}), {}),
        [t, s],
        "bad_axis",
    )
    top = Region(2)
    inner = top.child(1)
    yield bad(
        "one parameter",
        top.done(top.op("reduce", *top.params, regions=[inner.done(inner.params[0])])),
        [t, s],
        "bad_program",
    )
    top = Region(2)
    inner = top.child(2)
    yield bad(
        "two outputs",
        top.done(top.op("reduce", *top.params, regions=[inner.done(*inner.params)])),
        [t, s],
        "bad_program",
    )
    top = Region(2)
    yield bad("no region", top.done(top.op("reduce", *top.params)), [t, s], "bad_program")
    yield bad("window", program("window_reduce", one("add"), {"window": [4]}), [t, s], "bad_shape")
    yield bad(
        "window acc", program("window_reduce", one("add"), {"window": [1]}), [t, t], "bad_shape"
    )


def window_reduce(t, start, f, *config):
    array = t.array()
    out = [
        folded(t.dtype, f, start, [start if at is None else array[at] for at in found])
        for found in elements(t.shape, *config)
    ]
    return Tensor(t.dtype, out_shape(t.shape, config[0], *filled(*config)), out)


def window_cases():
    for name in ("add", "horner", "cond", "element"):
        region, f = REGIONS[name]
        for dtype in ("s32", "f32", "u8"):
            for i, (shape, *config) in enumerate(WINDOWS):
                t = Random(f"window_reduce {name} {dtype} {i}").small(dtype, shape, -3, 4)
                yield program_case(
                    f"window_reduce/{name}/{dtype}/{i}",
                    program("window_reduce", region, attrs_of(*config)),
                    [t, Tensor(dtype, (), [2])],
                    window_reduce(t, 2, f, *config),
                )
    for i, (shape, *config) in enumerate(
        [
            ((20, 30), (3, 4), None, [(1, 1), (2, 2)], None),
            ((3000,), (5,), [2], None, [3]),
            ((4, 700), (1, 3), None, None, None),
        ]
    ):
        t = Random(f"window_reduce long {i}").small("s16", shape)
        yield program_case(
            f"window_reduce/long/{i}",
            program("window_reduce", horner, attrs_of(*config)),
            [t, Tensor("s16", (), [2])],
            window_reduce(t, 2, REGIONS["horner"][1], *config),
        )


def map_cases():
    polynomial = lambda r, x: r.op("add", r.op("multiply", x, x), Number(1))

    def chosen(r, x):
        yes, no = r.child(), r.child()
        return r.op(
            "cond",
            r.op("greater", x, Number(0)),
            regions=[yes.done(yes.op("multiply", x, Number(2))), no.done(no.op("negate", x))],
        )

    for shape in [(), (5,), (3, 4), (0, 2), (1500,)]:
        for dtype in ("s32", "f64"):
            t = Random(f"map {shape}").small(dtype, shape)
            yield program_case(
                f"map/polynomial/{dtype}/{shape}",
                program("map", polynomial, {}, False),
                [t],
                Tensor(dtype, shape, [v * v + 1 for v in t.values]),
            )
            yield program_case(
                f"map/cond/{dtype}/{shape}",
                program("map", chosen, {}, False),
                [t],
                Tensor(dtype, shape, [v * 2 if v > 0 else -v for v in t.values]),
            )
    t = Tensor("s32", (3,), [1, 2, 3])
    yield program_case(
        "map/type",
        program("map", lambda r, x: r.op("divide", x, Number(2)), {"type": "f32"}, False),
        [t],
        Tensor("f32", (3,), [0.5, 1, 1.5]),
    )


def cases():
    yield from reduce_cases()
    yield from error_cases()
    yield from window_cases()
    yield from map_cases()
