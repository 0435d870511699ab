"""call: programs that call programs that were prepared before."""

from cases import Number, Region, op_case, program_case
from reference import COMPLEX, DTYPES, FLOATS, SMALL_FLOATS, SMALL_INTS, Tensor, binary, unary


def scalar(dtype, value):
    return Tensor(dtype, (), [value])


def call(region, program_id, *operands, results=1):
    return region.op("call", *operands, results=results, attrs={"program_id": program_id})


def square_plus():
    """x * x + y, and x * x."""
    top = Region(2)
    square = top.op("multiply", top.params[0], top.params[0])
    return top.done(top.op("add", square, top.params[1]), square)


def add_one(in_place=False):
    top = Region(1)
    copy = top.op("multiply", top.params[0], Number(1)) if in_place else top.params[0]
    return top.done(top.op("add", copy, Number(1), in_place=in_place))


def identity():
    """Its parameter, twice."""
    top = Region(1)
    return top.done(top.params[0], top.params[0])


def nothing():
    return Region().done()


def seven():
    top = Region()
    return top.done(top.op("constant", attrs={"value": 7, "type": "s32", "shape": []}))


def cases():
    yield from every_dtype()
    yield from inside()
    yield from values()
    yield from errors()


def every_dtype():
    for dtype in DTYPES + SMALL_INTS + SMALL_FLOATS + COMPLEX:
        x, y = Tensor(dtype, (2, 2), [0, 1, 1, 1]), Tensor(dtype, (2,), [1, 0])
        square = binary("multiply", x, x)
        yield op_case(
            f"call/{dtype}",
            "call",
            [x, y],
            [binary("add", square, y), square],
            {"program_id": 3},
            prepared={3: square_plus()},
        )
    # A number has the dtype that it has without a tensor, as in a loop.
    for number, dtype in [(3, "s32"), (0.5, "f32")]:
        x = scalar(dtype, number)
        square = binary("multiply", x, x)
        yield op_case(
            f"call/number/{number}",
            "call",
            [number, 1],
            [binary("add", square, scalar("s32", 1)), square],
            {"program_id": 1},
            prepared={1: square_plus()},
        )
    for dtype in FLOATS:
        x = Tensor(dtype, (5,), [0.25, -1.5, 3.0, 0.0, 7.5])
        yield op_case(
            f"call/fused/{dtype}",
            "call",
            [x],
            binary("add", x, 1),
            {"program_id": 2},
            prepared={2: add_one()},
        )
    yield op_case(
        "call/in place inside",
        "call",
        [Tensor("s32", (3,), [1, 2, 3])],
        Tensor("s32", (3,), [2, 3, 4]),
        {"program_id": 2},
        prepared={2: add_one(True)},
    )
    yield op_case(
        "call/no arguments", "call", [], scalar("s32", 7), {"program_id": 9}, prepared={9: seven()}
    )


def inside():
    """In loops, branches and folds; programs that call programs that call programs."""
    top = Region(1)
    test, body = top.child(1), top.child(1)
    out = top.op(
        "while",
        top.params[0],
        regions=[
            test.done(test.op("less", test.params[0], Number(10))),
            body.done(call(body, 1, body.params[0])),
        ],
    )
    yield program_case(
        "call/in while",
        top.done(out),
        [scalar("s64", 3)],
        scalar("s64", 10),
        prepared={1: add_one()},
    )

    for truth in (0, 1):
        top = Region(2)
        yes, no = top.child(), top.child()
        out = top.op(
            "cond",
            top.params[0],
            regions=[yes.done(call(yes, 1, top.params[1])), no.done(call(no, 2))],
        )
        yield program_case(
            f"call/in cond/{truth}",
            top.done(out),
            [scalar("u8", truth), scalar("s32", 4)],
            scalar("s32", 5 if truth else 7),
            prepared={1: add_one(), 2: seven()},
        )

    top = Region(2)
    inner = top.child(2)
    a, b = call(inner, 1, inner.params[0], inner.params[1], results=2)
    out = top.op("reduce", *top.params, regions=[inner.done(a)])
    x = Tensor("s32", (4,), [1, 2, 3, 4])
    yield program_case(
        "call/in reduce",
        top.done(out),
        [x, scalar("s32", 5)],
        scalar("s32", 35),
        prepared={1: square_plus()},
    )

    chain, prepared = add_one(), {}
    for i in range(1, 7):
        prepared[i] = chain
        top = Region(1)
        chain = top.done(call(top, i, call(top, i, top.params[0])))
    yield program_case(
        "call/calls that call",
        chain,
        [Tensor("f64", (2,), [1.5, -3])],
        Tensor("f64", (2,), [65.5, 61]),
        prepared=prepared,
    )

    x = Tensor("f32", (3,), [0.5, -1, 2])
    top = Region(1)
    out = top.op("tanh", call(top, 1, top.op("negate", top.params[0])))
    yield program_case(
        "call/in a chain",
        top.done(out),
        [x],
        unary("tanh", binary("add", unary("negate", x), 1)),
        ulp=2,
        prepared={1: add_one()},
    )


def values():
    """The result of a call is a separate value."""
    x = Tensor("s32", (3,), [1, 2, 3])
    top = Region(1)
    a, b = call(top, 1, top.params[0], results=2)
    c = top.op("add", a, Number(10), in_place=True)
    yield program_case(
        "call/outputs are values",
        top.done(top.params[0], b, c),
        [x],
        [x, x, binary("add", x, 10)],
        prepared={1: identity()},
    )
    top = Region(1)
    made = top.op("multiply", top.params[0], Number(2))
    a, b = call(top, 1, made, results=2)
    top.op("add", made, Number(5), in_place=True)
    top.op("add", b, Number(1), in_place=True)
    double = binary("multiply", x, 2)
    yield program_case(
        "call/outputs of what was made",
        top.done(made, a, b),
        [x],
        [binary("add", double, 5), double, binary("add", double, 1)],
        prepared={1: identity()},
    )
    top = Region()
    call(top, 1, results=0)
    yield program_case("call/nothing", top.done(), [], [], prepared={1: nothing()})


def errors():
    x = scalar("s32", 1)
    given = {1: square_plus()}
    yield op_case(
        "call/error/unknown",
        "call",
        [x],
        attrs={"program_id": 9999},
        error="unknown_program",
        prepared=given,
    )
    yield op_case(
        "call/error/operands",
        "call",
        [x],
        attrs={"program_id": 1},
        error="bad_program",
        results=2,
        prepared=given,
    )
    yield op_case(
        "call/error/results",
        "call",
        [x, x],
        attrs={"program_id": 1},
        error="bad_program",
        prepared=given,
    )
    yield op_case("call/error/no id", "call", [x], error="bad_attr")
    yield op_case(
        "call/error/id is no number", "call", [x], attrs={"program_id": "1"}, error="bad_attr"
    )
    yield op_case(
        "call/error/id is negative", "call", [x], attrs={"program_id": -1}, error="unknown_program"
    )
    yield op_case(
        "call/error/id is a fraction", "call", [x], attrs={"program_id": 1.5}, error="bad_attr"
    )
    top = Region(2)
    out = call(top, 1, *top.params, results=2)
    yield program_case(
        "call/error/shapes inside",
        top.done(*out),
        [Tensor("s32", (2,), [1, 2]), Tensor("s32", (3,), [1, 2, 3])],
        error="bad_shape",
        prepared=given,
    )
