"""Programs that must be refused, with the error's code. A refused program changes nothing.

Codes: an axis out of range or given twice is bad_axis; a missing, unknown or mistyped attr is
bad_attr; sizes that do not fit, also those in attrs, are bad_shape; the wrong number of operands,
results or regions is bad_program.
"""

from cases import Number, Region, op_case, program_case
from reference import Tensor, size_of


def t(dtype, *shape):
    return Tensor(dtype, shape, [i % 3 for i in range(size_of(shape))])


F3, F23, F32_, S3, I1 = t("f32", 3), t("f32", 2, 3), t("f32", 3, 2), t("s32", 3), t("s64", 2, 1)
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "quotient",
    "remainder",
    "pow",
    "min",
    "max",
    "atan2",
    "equal",
    "not_equal",
    "greater",
    "less",
    "greater_equal",
    "less_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
]
INTEGER = ["quotient", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]
UNARY = [
    "negate",
    "abs",
    "sign",
    "sqrt",
    "exp",
    "log",
    "sin",
    "cos",
    "tanh",
    "floor",
    "ceil",
    "round",
    "logical_not",
    "bitwise_not",
]
REDUCTIONS = ["sum", "product", "reduce_max", "reduce_min", "all", "any"]


def elementwise():
    for op in BINARY:
        yield op, "shapes", [S3, t("s32", 4)], {}, "bad_shape"
        yield op, "inner shapes", [t("s32", 2, 3), t("s32", 2, 1, 2)], {}, "bad_shape"
        yield op, "one operand", [S3], {}, "bad_program"
        yield op, "three operands", [S3, S3, S3], {}, "bad_program"
        yield op, "unknown attr", [S3, S3], {"axis": 0}, "bad_attr"
    for op in INTEGER:
        yield op, "float", [F3, F3], {}, "bad_dtype"
        yield op, "float right", [S3, F3], {}, "bad_dtype"
        yield op, "float literal", [S3, 1.5], {}, "bad_dtype"
    for op in UNARY:
        yield op, "no operand", [], {}, "bad_program"
        yield op, "two operands", [S3, S3], {}, "bad_program"
        yield op, "unknown attr", [S3], {"axes": [0]}, "bad_attr"
    yield "bitwise_not", "float", [F3], {}, "bad_dtype"
    yield "select", "two operands", [S3, S3], {}, "bad_program"
    yield "select", "shapes", [S3, t("s32", 4), S3], {}, "bad_shape"
    yield "select", "last shape", [S3, S3, t("s32", 2)], {}, "bad_shape"
    yield "select", "unknown attr", [S3, S3, S3], {"axis": 0}, "bad_attr"
    yield "clip", "two operands", [S3, S3], {}, "bad_program"
    yield "clip", "min not scalar", [F3, F3, 1], {}, "bad_shape"
    yield "clip", "max not scalar", [F3, 1, F3], {}, "bad_shape"
    yield "clip", "unknown attr", [F3, 0, 1], {"low": 0}, "bad_attr"


def creation():
    data = b"\0" * 12
    yield "from_binary", "too short", [], {"type": "f32", "shape": [4], "data": data}, "bad_attr"
    yield "from_binary", "too long", [], {"type": "f32", "shape": [2], "data": data}, "bad_attr"
    yield "from_binary", "no data", [], {"type": "f32", "shape": [3]}, "bad_attr"
    yield "from_binary", "data is no binary", [], {
        "type": "f32",
        "shape": [3],
        "data": 1,
    }, "bad_attr"
    yield "from_binary", "operand", [F3], {"type": "f32", "shape": [3], "data": data}, "bad_program"
    made = {"constant": {"value": 1}, "iota": {}, "eye": {}}
    for op, attrs in made.items():
        good = attrs | {"type": "f32", "shape": [2, 2]}
        yield op, "no shape", [], attrs | {"type": "f32"}, "bad_attr"
        yield op, "no type", [], attrs | {"shape": [2, 2]}, "bad_attr"
        yield op, "unknown dtype", [], good | {"type": "f31"}, "bad_attr"
        yield op, "dtype is no string", [], good | {"type": 3}, "bad_attr"
        yield op, "negative dimension", [], good | {"shape": [2, -1]}, "bad_shape"
        yield op, "shape is no list", [], good | {"shape": "2x2"}, "bad_attr"
        yield op, "too many dimensions", [], good | {"shape": [1] * 17}, "bad_shape"
        yield op, "bytes overflow", [], good | {"shape": [1 << 31, 1 << 31, 4]}, "bad_shape"
        yield op, "unknown attr", [], good | {"colour": 1}, "bad_attr"
        yield op, "operand", [F3], good, "bad_program"
    yield "constant", "no value", [], {"type": "f32", "shape": [2]}, "bad_attr"
    yield "constant", "value is a list", [], {"value": [1], "type": "f32", "shape": [2]}, "bad_attr"
    yield "constant", "value is a word", [], {
        "value": "one",
        "type": "f32",
        "shape": [2],
    }, "bad_attr"
    for axis in (2, -3):
        yield "iota", f"axis {axis}", [], {"type": "s32", "shape": [2, 3], "axis": axis}, "bad_axis"
    yield "iota", "axis of a scalar", [], {"type": "s32", "shape": [], "axis": 0}, "bad_axis"
    yield "iota", "axis is a float", [], {"type": "s32", "shape": [2], "axis": 0.5}, "bad_attr"
    yield "eye", "rank 1", [], {"type": "f32", "shape": [3]}, "bad_shape"
    yield "eye", "rank 0", [], {"type": "f32", "shape": []}, "bad_shape"
    yield "fill", "no value", [F3], {}, "bad_program"
    yield "fill", "value not scalar", [F3, F3], {}, "bad_shape"


def shapes():
    yield "reshape", "size", [F23], {"shape": [5]}, "bad_shape"
    yield "reshape", "no shape", [F23], {}, "bad_attr"
    yield "reshape", "negative", [F23], {"shape": [-1]}, "bad_shape"
    yield "reshape", "no operand", [], {"shape": [1]}, "bad_program"
    yield "squeeze", "not 1", [F23], {"axes": [0]}, "bad_shape"
    yield "transpose", "too few axes", [F23], {"axes": [0]}, "bad_axis"
    yield "broadcast", "no shape", [F3], {}, "bad_attr"
    yield "broadcast", "sizes", [F3], {"shape": [2]}, "bad_shape"
    yield "broadcast", "rank", [F23], {"shape": [3]}, "bad_shape"
    yield "broadcast", "axes out of order", [F23], {"shape": [3, 2], "axes": [1, 0]}, "bad_axis"
    yield "broadcast", "too few axes", [F23], {"shape": [2, 3], "axes": [0]}, "bad_axis"
    yield "broadcast", "sizes with axes", [F3], {"shape": [2, 3], "axes": [0]}, "bad_shape"
    yield "concatenate", "sizes", [F23, F32_], {}, "bad_shape"
    yield "concatenate", "ranks", [F23, F3], {}, "bad_shape"
    yield "concatenate", "no operand", [], {}, "bad_program"
    yield "concatenate", "axis", [F23, F23], {"axis": 2}, "bad_axis"
    yield "concatenate", "scalars", [t("f32"), t("f32")], {}, "bad_axis"
    for op in ("squeeze", "transpose", "reverse"):
        yield op, "axis out of range", [F23], {"axes": [0, 2]}, "bad_axis"
        yield op, "axis twice", [F23], {"axes": [0, 0]}, "bad_axis"
        yield op, "axes is no list", [F23], {"axes": 1}, "bad_attr"
        yield op, "unknown attr", [F23], {"axis": 1}, "bad_attr"
    yield "as_type", "no type", [F3], {}, "bad_attr"
    yield "as_type", "unknown dtype", [F3], {"type": "int"}, "bad_attr"
    yield "slice", "no lengths", [F3, 0], {}, "bad_attr"
    yield "slice", "length", [F3, 0], {"lengths": [4]}, "bad_shape"
    yield "slice", "negative length", [F3, 0], {"lengths": [-1]}, "bad_shape"
    yield "slice", "lengths of another rank", [F3, 0], {"lengths": [1, 1]}, "bad_attr"
    yield "slice", "strides of another rank", [F3, 0], {
        "lengths": [1],
        "strides": [1, 1],
    }, "bad_attr"
    yield "slice", "stride 0", [F3, 0], {"lengths": [1], "strides": [0]}, "bad_shape"
    yield "slice", "too few starts", [F23, 0], {"lengths": [1, 1]}, "bad_shape"
    yield "slice", "too many starts", [F3, 0, 0], {"lengths": [1]}, "bad_shape"
    yield "slice", "float start", [F3, t("f32")], {"lengths": [1]}, "bad_dtype"
    yield "slice", "float literal start", [F3, 0.5], {"lengths": [1]}, "bad_dtype"
    yield "slice", "start not scalar", [F3, t("s32", 1)], {"lengths": [1]}, "bad_shape"
    yield "put_slice", "slice too large", [F3, t("f32", 4), 0], {}, "bad_shape"
    yield "put_slice", "slice of another rank", [F3, t("f32", 1, 1), 0], {}, "bad_shape"
    yield "put_slice", "too few starts", [F23, t("f32", 1, 1), 0], {}, "bad_shape"
    yield "put_slice", "float start", [F3, t("f32", 1), t("f32")], {}, "bad_dtype"
    yield "put_slice", "start not scalar", [F3, t("f32", 1), t("s32", 1)], {}, "bad_shape"
    yield "put_slice", "one operand", [F3], {}, "bad_program"


def reductions():
    for op in REDUCTIONS:
        yield op, "axis out of range", [F23], {"axes": [2]}, "bad_axis"
        yield op, "negative axis", [F23], {"axes": [-3]}, "bad_axis"
        yield op, "axis twice", [F23], {"axes": [1, -1]}, "bad_axis"
        yield op, "axes is a number", [F23], {"axes": 0}, "bad_attr"
        yield op, "keep_axes is a number", [F23], {"keep_axes": 1}, "bad_attr"
        yield op, "unknown attr", [F23], {"axis": 0}, "bad_attr"
        yield op, "no operand", [], {}, "bad_program"
        yield op, "two operands", [F23, F23], {}, "bad_program"
    for op in ("argmax", "argmin"):
        yield op, "axis out of range", [F23], {"axis": 2}, "bad_axis"
        yield op, "tie_break", [F23], {"tie_break": "middle"}, "bad_attr"
        yield op, "unknown dtype", [F23], {"type": "x"}, "bad_attr"
        yield op, "unknown attr", [F23], {"axes": [0]}, "bad_attr"
        yield op, "two operands", [F23, F23], {}, "bad_program"
    for op in ("sort", "argsort"):
        yield op, "axis out of range", [F23], {"axis": -3}, "bad_axis"
        yield op, "scalar", [t("f32")], {}, "bad_axis"
        yield op, "direction", [F23], {"direction": "up"}, "bad_attr"
        yield op, "unknown attr", [F23], {"by": 1}, "bad_attr"
        yield op, "no operand", [], {}, "bad_program"
    yield "cumulative_sum", "axis out of range", [F23], {"axis": 2}, "bad_axis"
    yield "cumulative_sum", "scalar", [t("f32")], {}, "bad_axis"
    yield "cumulative_sum", "reverse is a word", [F23], {"reverse": "yes"}, "bad_attr"
    yield "dot", "sizes", [F23, F23], {}, "bad_shape"
    yield "dot", "vectors", [F3, t("f32", 4)], {}, "bad_shape"
    yield "dot", "axis out of range", [F23, F32_], {"left_axes": [2], "right_axes": [0]}, "bad_axis"
    yield "dot", "axis twice", [F23, F32_], {"left_axes": [1, 1], "right_axes": [0, 1]}, "bad_axis"
    yield "dot", "explicit sizes", [F23, F32_], {"left_axes": [0], "right_axes": [0]}, "bad_shape"
    yield "dot", "counts of axes", [F23, F23], {"left_axes": [0, 1], "right_axes": [0]}, "bad_shape"
    yield "dot", "one batch only", [F23, F23], {
        "left_axes": [1],
        "right_axes": [1],
        "left_batch_axes": [0],
    }, "bad_shape"
    yield "dot", "batch and contracted", [F23, F23], {
        "left_axes": [0],
        "right_axes": [0],
        "left_batch_axes": [0],
        "right_batch_axes": [0],
    }, "bad_axis"
    yield "dot", "batch sizes", [F23, t("f32", 3, 3)], {
        "left_axes": [1],
        "right_axes": [1],
        "left_batch_axes": [0],
        "right_batch_axes": [0],
    }, "bad_shape"
    yield "dot", "one operand", [F23], {}, "bad_program"


def index(*rows):
    return Tensor("s64", (len(rows), len(rows[0])), [v for row in rows for v in row])


def indexed():
    updates = t("f32", 2)
    bad = [
        ("too large", index([0], [3])),
        ("negative", index([-1], [0])),
        ("minimum", index([0], [-(1 << 63)])),
        ("maximum", index([(1 << 63) - 1], [0])),
    ]
    for name, at in bad:
        yield "gather", f"index {name}", [F3, at], {}, "bad_index"
        yield "take", f"index {name}", [F3, at], {}, "bad_index"
        for op in ("indexed_put", "indexed_add"):
            yield op, f"index {name}", [F3, at, updates], {}, "bad_index"
    huge = Tensor("u64", (2, 1), [0, (1 << 64) - 1])
    yield "gather", "u64 index", [F3, huge], {}, "bad_index"
    yield "take", "u64 index", [F3, huge], {}, "bad_index"
    yield "indexed_put", "u64 index", [F3, huge, updates], {}, "bad_index"
    yield "gather", "second axis", [F23, index([1, 2], [0, 3])], {}, "bad_index"
    yield "indexed_add", "second axis", [F23, index([1, 2], [0, 3]), updates], {}, "bad_index"
    yield "gather", "last of many", [F3, Tensor("s32", (500, 1), [0] * 499 + [3])], {}, "bad_index"
    yield "indexed_put", "last of many", [
        F3,
        Tensor("s32", (500, 1), [0] * 499 + [3]),
        t("f32", 500),
    ], {}, "bad_index"
    yield "gather", "empty axis", [t("f32", 0), index([0])], {}, "bad_index"
    for op, more in (("gather", []), ("indexed_put", [updates]), ("indexed_add", [updates])):
        yield op, "float index", [F3, t("f32", 2, 1)] + more, {}, "bad_dtype"
        yield op, "axes too many", [F23, I1] + more, {"axes": [0, 1]}, "bad_shape"
        yield op, "axis out of range", [F23, I1] + more, {"axes": [2]}, "bad_axis"
        yield op, "axes out of order", [F23, t("s64", 2, 2)] + more, {"axes": [1, 0]}, "bad_axis"
        yield op, "index deeper than the tensor", [F3, t("s64", 2, 2)] + more, {}, "bad_shape"
        yield op, "scalar index", [F3, t("s64")] + more, {}, "bad_shape"
        yield op, "unknown attr", [F3, I1] + more, {"axis": 0}, "bad_attr"
        yield op, "operands", [F3], {}, "bad_program"
    for op in ("indexed_put", "indexed_add"):
        yield op, "rows of updates", [F3, I1, t("f32", 3)], {}, "bad_shape"
        yield op, "rank of updates", [F23, I1, updates], {}, "bad_shape"
        yield op, "updates too wide", [F23, I1, t("f32", 2, 4)], {}, "bad_shape"
        yield op, "rank of indices", [F3, t("s64", 1, 2, 1), updates], {}, "bad_shape"
        yield op, "one index, many updates", [F3, t("s64", 1), updates], {}, "bad_shape"
    yield "take", "float index", [F3, F3], {}, "bad_dtype"
    yield "take", "axis out of range", [F23, t("s32", 2)], {"axis": 2}, "bad_axis"
    yield "take", "scalar", [t("f32"), t("s32", 2)], {}, "bad_axis"
    yield "take", "operands", [F3], {}, "bad_program"


def in_place():
    yield "add", "in place result dtype", [S3, F3], {}, "bad_dtype"
    yield "divide", "in place result dtype", [S3, S3], {}, "bad_dtype"
    yield "equal", "in place result dtype", [F3, F3], {}, "bad_dtype"
    yield "add", "in place literal widens", [t("u8", 3), 300], {}, "bad_dtype"
    yield "add", "in place result shape", [F3, F23], {}, "bad_shape"
    yield "sqrt", "in place result dtype", [S3], {}, "bad_dtype"
    yield "put_slice", "in place result dtype", [S3, t("f32", 1), 0], {}, "bad_dtype"
    yield "indexed_add", "in place result dtype", [S3, index([0]), t("f32", 1)], {}, "bad_dtype"
    yield "indexed_put", "in place index", [F3, index([0], [9]), t("f32", 2)], {}, "bad_index"
    yield "indexed_add", "in place index", [F3, index([0], [-1]), t("f32", 2)], {}, "bad_index"
    yield "sum", "no in-place form", [F3], {}, "bad_program"
    yield "gather", "no in-place form", [F3, I1], {}, "bad_program"


def programs():
    def loop(test, body, inputs, results=None):
        top = Region(len(inputs))
        regions = []
        for fn in (test, body):
            if fn is not None:
                region = top.child(len(inputs))
                regions.append(region.done(*fn(region)))
        out = top.op("while", *top.params, results=results or max(len(inputs), 1), regions=regions)
        return top.done(*(out if isinstance(out, list) else [out]))

    def go(r):
        return [r.op("less", r.params[0], Number(3))]

    def step(r):
        return [r.op("add", r.params[0], Number(1))]

    one = t("s32")
    yield "while/one region", loop(go, None, [one]), [one], "bad_program"
    yield "while/no regions", loop(None, None, [one]), [one], "bad_program"
    yield "while/two conditions", loop(lambda r: go(r) * 2, step, [one]), [one], "bad_program"
    yield "while/condition not scalar", loop(go, step, [S3]), [S3], "bad_shape"
    yield "while/dtype changes", loop(
        go, lambda r: [r.op("divide", r.params[0], Number(2))], [one]
    ), [one], "bad_dtype"
    yield (
        "while/shape changes",
        loop(go, lambda r: [r.op("reshape", r.params[0], attrs={"shape": [1]})], [one]),
        [one],
        "bad_shape",
    )
    yield "while/body gives too many", loop(go, lambda r: step(r) * 2, [one]), [one], "bad_program"
    yield "while/too many results", loop(go, step, [one], 2), [one], "bad_program"
    yield (
        "while/unknown op inside",
        loop(go, lambda r: [r.op("frobnicate", r.params[0])], [one]),
        [one],
        "unknown_op",
    )

    def choose(yes, no, results=1, regions=2):
        top = Region(3)
        children = [top.child() for _ in range(regions)]
        done = [c.done(*f(c, *top.params)) for c, f in zip(children, (yes, no))]
        out = top.op("cond", top.params[0], results=results, regions=done)
        return top.done(*(out if isinstance(out, list) else [out]))

    def left(r, p, x, y):
        return [x]

    def right(r, p, x, y):
        return [y]

    one = t("u8")
    yield "cond/predicate not scalar", choose(left, left), [S3, F3, F3], "bad_shape"
    yield "cond/dtypes differ", choose(left, right), [one, F3, S3], "bad_dtype"
    yield "cond/shapes differ", choose(left, right), [one, F3, F23], "bad_shape"
    yield (
        "cond/counts differ",
        choose(left, lambda r, p, x, y: [x, y]),
        [one, F3, F3],
        "bad_program",
    )
    yield "cond/one region", choose(left, left, 1, 1), [one, F3, F3], "bad_program"
    yield "cond/too many results", choose(left, right, 2), [one, F3, F3], "bad_program"

    def add(a, b, out=2, **more):
        return {"op": "add", "in": [a, b], "out": [out], **more}

    F3_ = [F3]
    yield "unknown value", {"params": [0], "body": [add(0, 7)], "outputs": [2]}, F3_, "bad_program"
    yield "value before its time", {
        "params": [0],
        "body": [add(0, 3), add(0, 0, 3)],
        "outputs": [2],
    }, F3_, "bad_program"
    yield "value given twice", {
        "params": [0],
        "body": [add(0, 0), add(0, 0)],
        "outputs": [2],
    }, F3_, "bad_program"
    yield "parameter given again", {
        "params": [0],
        "body": [add(0, 0, 0)],
        "outputs": [0],
    }, F3_, "bad_program"
    yield "unknown output", {"params": [0], "body": [], "outputs": [1]}, F3_, "bad_program"
    yield "parameter twice", {"params": [0, 0], "body": [], "outputs": [0]}, [F3, F3], "bad_program"
    yield "two results of one", {
        "params": [0],
        "body": [{"op": "negate", "in": [0], "out": [1, 2]}],
        "outputs": [1],
    }, F3_, "bad_program"
    yield "no result", {
        "params": [0],
        "body": [{"op": "negate", "in": [0]}],
        "outputs": [0],
    }, F3_, "bad_program"
    yield "region of an op without", {
        "params": [0],
        "body": [add(0, 0, regions=[{"params": [], "body": [], "outputs": []}])],
        "outputs": [2],
    }, F3_, "bad_program"
    inner = {"params": [], "body": [add(0, 0, 5)], "outputs": [5]}
    yield "value of a region used outside", {
        "params": [0, 1],
        "body": [
            {
                "op": "cond",
                "in": [1],
                "out": [2],
                "regions": [inner, {"params": [], "body": [add(0, 0, 6)], "outputs": [6]}],
            },
            add(5, 2, 7),
        ],
        "outputs": [7],
    }, [F3, one], "bad_program"
    yield "too many arguments", {"params": [], "body": [], "outputs": []}, F3_, "bad_program"
    # The second instruction fails. The first one, in place, must not run, because the whole program
    # is checked before it starts.
    yield "second instruction", {
        "params": [0],
        "body": [
            {"op": "negate", "in": [0], "out": [1], "in_place": True},
            {"op": "reshape", "in": [1], "out": [2], "attrs": {"shape": [7]}},
        ],
        "outputs": [2],
    }, F3_, "bad_shape"


def cases():
    for family in (elementwise, creation, shapes, reductions, indexed):
        for op, name, inputs, attrs, error in family():
            yield op_case(f"{op}/error/{name}", op, inputs, attrs=attrs, error=error)
    for op, name, inputs, attrs, error in in_place():
        yield op_case(f"{op}/error/{name}", op, inputs, attrs=attrs, error=error, in_place=True)
    yield op_case("unknown op", "frobnicate", [F3], error="unknown_op")
    yield op_case("empty op", "", [F3], error="unknown_op")
    for name, program, inputs, error in programs():
        yield program_case(f"program/error/{name}", program, inputs, error=error)
