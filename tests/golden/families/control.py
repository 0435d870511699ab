"""Programs: while, cond, and chains that a planner may fuse or carry out in place."""

from cases import Number, Region, program_case
from reference import Random, Tensor, as_type, binary, unary


def count_to(limit):
    """while i < limit: i + 1"""
    top = Region(1)
    test = top.child(1)
    go = test.op("less", test.params[0], Number(limit))
    body = top.child(1)
    following = body.op("add", body.params[0], Number(1))
    out = top.op("while", top.params[0], regions=[test.done(go), body.done(following)])
    return top.done(out)


def loop(top, state, times, step):
    """Runs step(body, i, *state) `times` times; returns the final state's ids."""
    start = top.op("constant", attrs={"value": 0, "type": "s64", "shape": []})
    n = 1 + len(state)
    test = top.child(n)
    go = test.op("less", test.params[0], Number(times))
    body = top.child(n)
    following = body.op("add", body.params[0], Number(1))
    new = step(body, body.params[0], *body.params[1:])
    out = top.op(
        "while", start, *state, results=n, regions=[test.done(go), body.done(following, *new)]
    )
    return out[1:]


def scalar(dtype, value):
    return Tensor(dtype, (), [value])


def while_cases():
    for dtype in ("s64", "s32", "u8", "f32", "f64"):
        for start in (0, 9, 12):
            yield program_case(
                f"while/count/{dtype}/{start}",
                count_to(10),
                [scalar(dtype, start)],
                scalar(dtype, max(start, 10)),
            )

    top = Region(1)
    (out,) = loop(top, [top.params[0]], 7, lambda b, i, x: [b.op("multiply", x, Number(2))])
    x = Tensor("f32", (2, 3), [1, 2, 3, -1, 0.5, 0])
    yield program_case(
        "while/tensor state", top.done(out), [x], Tensor("f32", (2, 3), [v * 128 for v in x.values])
    )

    top = Region(2)
    (out,) = loop(top, [top.params[0]], 5, lambda b, i, x: [b.op("add", x, top.params[1])])
    yield program_case(
        "while/captured value",
        top.done(out),
        [scalar("s32", 1), scalar("s32", 10)],
        scalar("s32", 51),
    )

    def put(b, i, x):
        value = b.op("reshape", b.op("multiply", i, i), attrs={"shape": [1]})
        return [b.op("put_slice", x, value, i)]

    top = Region(1)
    (out,) = loop(top, [top.params[0]], 6, put)
    yield program_case(
        "while/put_slice",
        top.done(out),
        [Tensor("s64", (8,), [-1] * 8)],
        Tensor("s64", (8,), [0, 1, 4, 9, 16, 25, -1, -1]),
    )

    def put_in_place(b, i, x):
        value = b.op("reshape", i, attrs={"shape": [1]})
        return [b.op("put_slice", x, value, i, in_place=True)]

    top = Region(1)
    (out,) = loop(top, [top.params[0]], 4, put_in_place)
    yield program_case(
        "while/put_slice in place",
        top.done(out, top.params[0]),
        [Tensor("s64", (4,), [7] * 4)],
        [Tensor("s64", (4,), range(4)), Tensor("s64", (4,), [7] * 4)],
    )

    # The states are swapped: a write to one in place must not change the other.
    for times in (0, 1, 2, 5):
        top = Region(2)
        a, b = loop(top, list(top.params), times, lambda r, i, x, y: [y, r.op("add", x, Number(1))])
        x, y = [1, 2, 3], [10, 20, 30]
        for _ in range(times):
            x, y = y, [v + 1 for v in x]
        yield program_case(
            f"while/swap/{times}",
            top.done(a, b),
            [Tensor("f32", (3,), [1, 2, 3]), Tensor("f32", (3,), [10, 20, 30])],
            [Tensor("f32", (3,), x), Tensor("f32", (3,), y)],
        )

    top = Region(1)
    a, b = loop(
        top, [top.params[0]] * 2, 3, lambda r, i, x, y: (lambda s: [s, s])(r.op("add", x, y))
    )
    yield program_case(
        "while/one value twice",
        top.done(a, b),
        [Tensor("s32", (2,), [1, 5])],
        [Tensor("s32", (2,), [8, 40])] * 2,
    )

    top = Region(1)
    a, b = loop(
        top,
        [top.params[0]] * 2,
        3,
        lambda r, i, x, y: [r.op("add", x, Number(1), in_place=True), y],
    )
    yield program_case(
        "while/one value in, one written in place",
        top.done(a, b),
        [Tensor("s32", (2,), [1, 5])],
        [Tensor("s32", (2,), [4, 8]), Tensor("s32", (2,), [1, 5])],
    )

    # A delay line: each state takes the previous value of the state before it.
    for name, first in [
        ("counter", lambda b, i: i),
        ("cast", lambda b, i: b.op("as_type", i, attrs={"type": "s64"})),
        ("sum", lambda b, i: b.op("add", i, Number(10))),
    ]:
        top = Region(1)
        out = loop(
            top, [top.params[0]] * 3, 5, lambda b, i, x, y, z, first=first: [first(b, i), x, y]
        )
        plus = 10 if name == "sum" else 0
        yield program_case(
            f"while/delay line/{name}",
            top.done(*out),
            [scalar("s64", 7)],
            [scalar("s64", n + plus) for n in (4, 3, 2)],
        )
    top = Region()
    zero = top.op("constant", attrs={"value": 0, "type": "s32", "shape": []})
    test = top.child(3)
    go = test.op("greater", Number(4), test.params[0])
    body = top.child(3)
    i, x, _ = body.params
    following = body.op("add", i, Number(1))
    same = body.op("as_type", i, attrs={"type": "s32"})
    out = top.op(
        "while", zero, zero, zero, results=3, regions=[test.done(go), body.done(following, same, x)]
    )
    yield program_case(
        "while/delay line of one constant",
        top.done(*out),
        [],
        [scalar("s32", n) for n in (4, 3, 2)],
    )

    def nested(b, i, x):
        (out,) = loop(b, [x], 3, lambda c, j, y: [c.op("add", y, i)])
        return [out]

    top = Region(1)
    (out,) = loop(top, [top.params[0]], 4, nested)
    yield program_case("while/nested", top.done(out), [scalar("s64", 0)], scalar("s64", 18))

    top = Region(2)
    a, b = loop(top, list(top.params), 30, lambda r, i, x, y: [y, r.op("add", x, y)])
    x, y = 0, 1
    for _ in range(30):
        x, y = y, x + y
    yield program_case(
        "while/fibonacci",
        top.done(a, b),
        [scalar("s64", 0), scalar("s64", 1)],
        [scalar("s64", x), scalar("s64", y)],
    )

    def scatter(b, i, x, index):
        row = b.op("reshape", b.op("remainder", i, Number(3)), attrs={"shape": [1, 1]})
        one = b.op("constant", attrs={"value": 1, "type": "f32", "shape": [1]})
        return [b.op("indexed_add", x, row, one), index]

    top = Region(2)
    out, _ = loop(top, list(top.params), 10, scatter)
    yield program_case(
        "while/indexed_add",
        top.done(out),
        [Tensor("f32", (4,), [0, 0, 0, 5]), scalar("u8", 0)],
        Tensor("f32", (4,), [4, 3, 3, 5]),
    )


def cond(top, pred, yes, no, results=1):
    regions = [top.child(), top.child()]
    out = [f(r) for f, r in zip((yes, no), regions)]
    return top.op("cond", pred, results=results, regions=[r.done(*o) for r, o in zip(regions, out)])


def cond_cases():
    for dtype, value in [
        ("u8", 1),
        ("u8", 0),
        ("u8", 2),
        ("s32", -1),
        ("s64", 0),
        ("f32", 0.5),
        ("f32", -0.0),
        ("f64", float("nan")),
        ("f64", 0.0),
    ]:
        top = Region(3)
        p, x, y = top.params
        a, b = cond(
            top, p, lambda r: [r.op("add", x, y), x], lambda r: [r.op("subtract", x, y), y], 2
        )
        xs, ys = Tensor("f32", (3,), [1, 2, 3]), Tensor("f32", (3,), [10, 20, 30])
        true = value != 0
        yield program_case(
            f"cond/{dtype}/{value!r}",
            top.done(a, b),
            [scalar(dtype, value), xs, ys],
            [binary("add" if true else "subtract", xs, ys), xs if true else ys],
        )
    for value in (0, 1):
        # The result is one of the arguments: a write in place must not change the argument.
        top = Region(3)
        p, x, y = top.params
        picked = cond(top, p, lambda r: [x], lambda r: [y])
        out = top.op("add", picked, Number(100), in_place=True)
        xs, ys = Tensor("s32", (2,), [1, 2]), Tensor("s32", (2,), [3, 4])
        yield program_case(
            f"cond/write the result/{value}",
            top.done(out, x, y),
            [scalar("u8", value), xs, ys],
            [binary("add", xs if value else ys, 100), xs, ys],
        )

    # Collatz: a cond inside a while.
    top = Region(1)
    test = top.child(2)
    go = test.op("greater", test.params[0], Number(1))
    body = top.child(2)
    odd = body.op("remainder", body.params[0], Number(2))
    n = cond(
        body,
        odd,
        lambda r: [r.op("add", r.op("multiply", body.params[0], Number(3)), Number(1))],
        lambda r: [r.op("quotient", body.params[0], Number(2))],
    )
    steps = body.op("add", body.params[1], Number(1))
    zero = top.op("constant", attrs={"value": 0, "type": "s32", "shape": []})
    out = top.op(
        "while", top.params[0], zero, results=2, regions=[test.done(go), body.done(n, steps)]
    )
    for n, steps in [(1, 0), (6, 8), (27, 111)]:
        yield program_case(
            f"while/collatz/{n}",
            top.done(*out),
            [scalar("s64", n)],
            [scalar("s64", 1), scalar("s32", steps)],
        )


def chain_cases():
    # A multiplication and an addition round one after the other, never as one fused step.
    for dtype in ("f32", "f64"):
        top = Region(3)
        a, b, c = top.params
        out = top.op("add", top.op("multiply", a, b), c)
        rnd = Random(f"fma {dtype}")
        xs = [rnd.wide(dtype, (1001,)) for _ in range(3)]
        yield program_case(
            f"chain/multiply add/{dtype}",
            top.done(out),
            xs,
            binary("add", binary("multiply", xs[0], xs[1]), xs[2]),
        )
        top = Region(3)
        a, b, c = top.params
        out = top.op("subtract", top.op("multiply", a, b), top.op("multiply", b, c))
        yield program_case(
            f"chain/difference of products/{dtype}",
            top.done(out),
            xs,
            binary("subtract", binary("multiply", xs[0], xs[1]), binary("multiply", xs[1], xs[2])),
        )
        top = Region(2)
        a, b = top.params
        t = top.op("tanh", top.op("add", top.op("multiply", a, b), Number(1)))
        out = top.op("multiply", t, top.op("exp", top.op("negate", a)))
        x, y = xs[0], xs[1]
        value = unary("tanh", binary("add", binary("multiply", x, y), 1))
        yield program_case(
            f"chain/tanh exp/{dtype}",
            top.done(out),
            [x, y],
            binary("multiply", value, unary("exp", unary("negate", x))),
            ulp=8,
        )

    # Bytes wrap in the middle of a chain.
    top = Region(2)
    a, b = top.params
    out = top.op("add", top.op("as_type", top.op("add", a, b), attrs={"type": "s32"}), Number(-300))
    x, y = [Random(n).wide("u8", (300,)) for n in ("bytes", "more bytes")]
    yield program_case(
        "chain/bytes wrap",
        top.done(out),
        [x, y],
        binary("add", as_type(binary("add", x, y), "s32"), -300),
    )

    # An operand that is used twice, and later again.
    top = Region(1)
    (a,) = top.params
    square = top.op("multiply", a, a)
    total = top.op("sum", square)
    scaled = top.op("add", square, total)
    x = Random("squares").small("s32", (257,))
    xx = binary("multiply", x, x)
    yield program_case(
        "chain/reduce and go on",
        top.done(scaled, square, total, a),
        [x],
        [binary("add", xx, scalar("s32", sum(xx.values))), xx, scalar("s32", sum(xx.values)), x],
    )

    # Broadcasts of both operands inside of a chain, then a reduction over one axis.
    top = Region(2)
    a, b = top.params
    out = top.op("sum", top.op("select", top.op("greater", a, b), a, b), attrs={"axes": [1]})
    x, y = Random("rows").small("s64", (37, 1)), Random("columns").small("s64", (1, 41))
    yield program_case(
        "chain/broadcast select sum",
        top.done(out),
        [x, y],
        Tensor("s64", (37,), [sum(max(p, q) for q in y.values) for p in x.values]),
    )

    # Views inside of a chain.
    top = Region(1)
    (a,) = top.params
    t = top.op("transpose", a)
    s = top.op("slice", t, Number(1), Number(0), attrs={"lengths": [3, 4], "strides": [2, 1]})
    out = top.op("multiply", top.op("reverse", s), Number(3))
    x = Tensor("s32", (4, 5), range(20))
    array = x.array().T[1:4:2, 0:4][::-1, ::-1] * 3
    yield program_case(
        "chain/views",
        top.done(out, t),
        [x],
        [
            Tensor("s32", (2, 4), array.reshape(-1).tolist()),
            Tensor("s32", (5, 4), x.array().T.reshape(-1).tolist()),
        ],
    )

    # The tensors are large enough for several tiles and threads; the result is one number.
    for n in (100_000, 262_144, 300_001):
        top = Region()
        i = top.op("iota", attrs={"type": "s64", "shape": [n]})
        r = top.op("remainder", i, Number(7))
        m = top.op("multiply", r, top.op("subtract", i, Number(5)))
        outs = [top.op(name, m) for name in ("sum", "reduce_max", "reduce_min", "argmax")]
        values = [(i % 7) * (i - 5) for i in range(n)]
        yield program_case(
            f"chain/large/{n}",
            top.done(*outs),
            [],
            [
                scalar("s64", sum(values)),
                scalar("s64", max(values)),
                scalar("s64", min(values)),
                scalar("s32", values.index(max(values))),
            ],
        )
    top = Region()
    i = top.op("iota", attrs={"type": "f32", "shape": [513, 517], "axis": 0})
    j = top.op("iota", attrs={"type": "f32", "shape": [517], "axis": 0})
    p = top.op("greater", i, j)
    out = top.op("sum", p, attrs={"axes": [0]})
    yield program_case(
        "chain/large triangle",
        top.done(out),
        [],
        Tensor("u32", (517,), [max(0, 512 - j) for j in range(517)]),
    )

    # One value is two outputs, and a parameter is an output: all are separate values.
    top = Region(1)
    (a,) = top.params
    b = top.op("add", a, Number(1))
    x = Tensor("f64", (3,), [1, 2, 3])
    yield program_case(
        "chain/outputs twice", top.done(b, b, a, a), [x], [binary("add", x, 1)] * 2 + [x, x]
    )

    # In place, while an older view of the value lives on.
    top = Region(1)
    (a,) = top.params
    copy = top.op("add", a, Number(0))
    view = top.op("slice", copy, Number(1), attrs={"lengths": [2]})
    written = top.op("multiply", copy, Number(10), in_place=True)
    x = Tensor("s32", (4,), [1, 2, 3, 4])
    yield program_case(
        "chain/view before write",
        top.done(written, view),
        [x],
        [binary("multiply", x, 10), Tensor("s32", (2,), [2, 3])],
    )

    # In place on the result of the previous instruction.
    for start in ("fill", "negate", "broadcast", "constant", "transpose"):
        top = Region(1)
        (a,) = top.params
        attrs = {
            "broadcast": {"shape": [3, 2]},
            "constant": {"value": 3, "type": "s32", "shape": [3, 2]},
        }
        more = {"fill": [Number(3)]}.get(start, [])
        t = top.op(start, *([] if start == "constant" else [a]), *more, attrs=attrs.get(start))
        out = top.op("add", t, Number(1), in_place=True)
        six = Tensor("s32", (3, 2), [5] * 6)
        value = {"fill": 4, "negate": -4, "broadcast": 6, "constant": 4, "transpose": 6}[start]
        shape = (2, 3) if start == "transpose" else (3, 2)
        yield program_case(
            f"chain/in place on a temporary/{start}",
            top.done(out, a),
            [six],
            [Tensor("s32", shape, [value] * 6), six],
        )
        top = Region(1)
        (a,) = top.params
        t = top.op(start, *([] if start == "constant" else [a]), *more, attrs=attrs.get(start))
        view = top.op("slice", t, Number(1), Number(0), attrs={"lengths": [1, 2]}, in_place=True)
        out = top.op("add", view, Number(1), in_place=True)
        values = [value - 1] * (3 if start == "transpose" else 2) + [value] * 2
        values += [value - 1] * (6 - len(values))
        yield program_case(
            f"chain/mutable view of a temporary/{start}",
            top.done(t, out, a),
            [six],
            [Tensor("s32", shape, values), Tensor("s32", (1, 2), [value] * 2), six],
        )

    # A value that is written in place and not used again: its memory must not become another's.
    top = Region(2)
    a, i = top.params
    total = top.op("sum", a)
    following = top.op("add", i, Number(1))
    top.op("remainder", total, Number(7), in_place=True)
    yield program_case(
        "chain/in place on what nobody needs",
        top.done(following),
        [Tensor("f32", (3,), [10, 20, 30]), scalar("s32", 41)],
        scalar("s32", 42),
    )

    # The slice that is put is the target itself, and its elements share memory.
    top = Region(1)
    (a,) = top.params
    b = top.op("broadcast", a, attrs={"shape": [3]})
    out = top.op("put_slice", b, b, Number(1), in_place=True)
    yield program_case(
        "chain/put a broadcast into itself",
        top.done(out, a),
        [scalar("f32", 2)],
        [Tensor("f32", (3,), [2, 2, 2]), scalar("f32", 2)],
    )

    # A mutable view: the write changes the tensor of the view.
    top = Region(1)
    (a,) = top.params
    copy = top.op("add", a, Number(0))
    view = top.op("slice", copy, Number(1), attrs={"lengths": [2]}, in_place=True)
    written = top.op("multiply", view, Number(10), in_place=True)
    yield program_case(
        "chain/write through a mutable view",
        top.done(copy, written),
        [x],
        [Tensor("s32", (4,), [1, 20, 30, 4]), Tensor("s32", (2,), [20, 30])],
    )

    top = Region(1)
    (a,) = top.params
    yield program_case("chain/nothing", top.done(a), [x], x)
    top = Region()
    yield program_case("chain/empty", top.done(), [], [])


def cases():
    yield from while_cases()
    yield from cond_cases()
    yield from chain_cases()
