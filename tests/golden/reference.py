"""Nx's element semantics, spelled out in plain Python: the oracle of the golden cases.

Nothing here knows the C++ code. Integers are exact Python ints that wrap when they are stored;
floats are float64 numbers that round once when they are stored as f32. Transcendental functions
are computed in the 80-bit long double and rounded once, so that the expected value is within half
an ulp of the truth (but for rare double rounding).
"""

import decimal
import itertools
import math
import zlib

import numpy as np

INTS = ["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"]
FLOATS = ["f32", "f64"]
DTYPES = INTS + FLOATS
NUMPY = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "s8": "<i1", "s16": "<i2",
         "s32": "<i4", "s64": "<i8", "f32": "<f4", "f64": "<f8"}
NAN, INF = float("nan"), float("inf")

np.seterr(all="ignore")


def bits(dtype):
    return int(dtype[1:])


def is_float(dtype):
    return dtype[0] == "f"


def is_signed(dtype):
    return dtype[0] == "s"


def int_range(dtype):
    n = bits(dtype)
    return (-(1 << (n - 1)), (1 << (n - 1)) - 1) if is_signed(dtype) else (0, (1 << n) - 1)


def wrap(dtype, value):
    """An integer modulo 2^n, as two's complement."""
    n = bits(dtype)
    value &= (1 << n) - 1
    return value - (1 << n) if is_signed(dtype) and value >> (n - 1) else value


def store(dtype, value):
    """What a tensor of dtype holds after value was written: wraps, or rounds once."""
    if is_float(dtype):
        return float(np.float32(value)) if dtype == "f32" else float(value)
    assert not isinstance(value, float), value
    return wrap(dtype, int(value))


def size_of(shape):
    return math.prod(shape)


class Tensor:
    """dtype, shape and a flat list of Python numbers in C order."""

    def __init__(self, dtype, shape, values):
        self.dtype, self.shape = dtype, tuple(shape)
        self.values = [store(dtype, v) for v in values]
        assert len(self.values) == size_of(self.shape), (self.shape, len(self.values))

    def wire(self):
        data = np.array(self.values, dtype=NUMPY[self.dtype]).tobytes()
        return {"dtype": self.dtype, "shape": list(self.shape), "data": data}

    def array(self):
        """The values as a numpy array of Python objects, for index games."""
        out = np.empty(len(self.values), dtype=object)
        out[:] = self.values
        return out.reshape(self.shape)


def from_array(dtype, array):
    return Tensor(dtype, array.shape, array.reshape(-1).tolist())


# Types: Nx.Type


def merge(a, b):
    if a[0] == b[0]:
        return a[0] + str(max(bits(a), bits(b)))
    low, high = sorted([a, b], key=lambda t: "usf".index(t[0]))
    if high[0] == "s":
        return "s" + str(max(min(bits(low) * 2, 64), bits(high)))
    return high


def merge_number(dtype, number):
    """The dtype of an operation between a tensor of dtype and a literal."""
    if is_float(dtype):
        return dtype
    if isinstance(number, float):
        return "f32"
    if dtype[0] == "u" and number >= 0:
        need = next(n for n in (8, 16, 32, 64) if number < (1 << n))
        return "u" + str(max(need, bits(dtype)))
    signed = bits(dtype) if is_signed(dtype) else min(bits(dtype) * 2, 64)
    magnitude = -number - 1 if number < 0 else number
    need = next((n for n in (8, 16, 32, 64) if magnitude < (1 << (n - 1))), 64)
    return "s" + str(max(need, signed))


def infer(number):
    return "f32" if isinstance(number, float) else "s32"


def type_of(x, y):
    """Result dtype of a binary operation; operands are Tensors or numbers."""
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return merge(x.dtype, y.dtype)
    if isinstance(x, Tensor):
        return merge_number(x.dtype, y)
    if isinstance(y, Tensor):
        return merge_number(y.dtype, x)
    return infer(x + y)


def to_floating(dtype):
    return dtype if is_float(dtype) else "f32"


def to_aggregate(dtype):
    if is_float(dtype):
        return dtype
    if dtype in ("u64", "s64"):
        return "s64"
    return "u32" if dtype[0] == "u" else "s32"


# Shapes


def broadcast_shapes(a, b):
    out = []
    for x, y in itertools.zip_longest(reversed(a), reversed(b), fillvalue=1):
        assert x == y or x == 1 or y == 1, (a, b)
        out.append(y if x == 1 else x)
    return tuple(reversed(out))


def broadcast_values(t, shape):
    return np.broadcast_to(t.array(), shape).reshape(-1).tolist() if size_of(shape) else []


# Elements


def truncated_div(x, y):
    q = abs(x) // abs(y)
    return q if (x < 0) == (y < 0) else -q


def long_double(fn, *args):
    return fn(*[np.longdouble(a) for a in args])


def int_pow(x, y, dtype):
    if y >= 0:
        return pow(x, y, 1 << bits(dtype))
    return 1 if x == 1 else (1 if y % 2 == 0 else -1) if x == -1 else 0


def shift_left(x, y, dtype):
    return x << y if 0 <= y < bits(dtype) else 0


def shift_right(x, y, dtype):
    return x >> y if 0 <= y < bits(dtype) else (-1 if x < 0 else 0)


def binary_int(op, x, y, dtype):
    if op == "add": return x + y
    if op == "subtract": return x - y
    if op == "multiply": return x * y
    if op == "quotient": return -1 if y == 0 else truncated_div(x, y)
    if op == "remainder": return x if y == 0 else x - y * truncated_div(x, y)
    if op == "pow": return int_pow(x, y, dtype)
    if op == "min": return min(x, y)
    if op == "max": return max(x, y)
    if op == "bitwise_and": return x & y
    if op == "bitwise_or": return x | y
    if op == "bitwise_xor": return x ^ y
    if op == "left_shift": return shift_left(x, y, dtype)
    if op == "right_shift": return shift_right(x, y, dtype)
    raise KeyError(op)


def binary_float(op, x, y):
    x, y = np.float64(x), np.float64(y)
    if op == "add": return x + y
    if op == "subtract": return x - y
    if op == "multiply": return x * y
    if op == "divide": return x / y
    if op == "remainder": return np.fmod(x, y)
    if op == "min": return NAN if np.isnan(x) or np.isnan(y) else min(x, y)
    if op == "max": return NAN if np.isnan(x) or np.isnan(y) else max(x, y)
    if op == "pow": return long_double(np.power, x, y)
    if op == "atan2": return long_double(np.arctan2, x, y)
    raise KeyError(op)


FLOATING_BINARY = {"divide", "atan2"}
INTEGER_BINARY = {"quotient", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift",
                  "right_shift"}


def predicate(op, x, y):
    if op == "equal": return x == y
    if op == "not_equal": return x != y
    if op == "greater": return x > y
    if op == "less": return x < y
    if op == "greater_equal": return x >= y
    if op == "less_equal": return x <= y
    if op == "logical_and": return x != 0 and y != 0
    if op == "logical_or": return x != 0 or y != 0
    if op == "logical_xor": return (x != 0) != (y != 0)
    raise KeyError(op)


PREDICATES = ["equal", "not_equal", "greater", "less", "greater_equal", "less_equal",
              "logical_and", "logical_or", "logical_xor"]


def zip_operands(x, y):
    """Broadcasts two operands (Tensors or numbers): shape and pairs."""
    xs = x.shape if isinstance(x, Tensor) else ()
    ys = y.shape if isinstance(y, Tensor) else ()
    shape = broadcast_shapes(xs, ys)
    # A literal takes the result's dtype before it is used: 0.1 beside f32 is 0.1 rounded to f32.
    dtype = type_of(x, y)
    xv = broadcast_values(x, shape) if isinstance(x, Tensor) else [store(dtype, x)] * size_of(shape)
    yv = broadcast_values(y, shape) if isinstance(y, Tensor) else [store(dtype, y)] * size_of(shape)
    return shape, list(zip(xv, yv))


def binary(op, x, y):
    shape, pairs = zip_operands(x, y)
    if op in PREDICATES:
        return Tensor("u8", shape, [int(predicate(op, a, b)) for a, b in pairs])
    dtype = type_of(x, y)
    if op in FLOATING_BINARY:
        dtype = to_floating(dtype)
    if is_float(dtype):
        return Tensor(dtype, shape, [binary_float(op, a, b) for a, b in pairs])
    return Tensor(dtype, shape, [binary_int(op, a, b, dtype) for a, b in pairs])


def round_away(x):
    """Half away from zero, as :erlang.round."""
    if not math.isfinite(x):
        return x
    whole = math.trunc(x)
    return float(whole + (0 if abs(x - whole) < 0.5 else math.copysign(1, x)))


def sign(x):
    return -1 if x < 0 else 1 if x > 0 else x


def decimal_erfc(x):
    """erfc of a Decimal by the series of erf, with digits enough for what cancels."""
    with decimal.localcontext() as context:
        context.prec = 60 + int(x * x)
        term = total = +x
        n = 0
        while abs(term) > decimal.Decimal(10) ** -context.prec:
            n += 1
            term = -term * x * x / n
            total += term / (2 * n + 1)
        return 1 - 2 * total / decimal_pi(context.prec).sqrt()


def decimal_pi(digits):
    """Machin's formula."""
    def arctan_inverse(n):
        power = total = decimal.Decimal(1) / n
        k = 1
        while abs(power) > decimal.Decimal(10) ** -(digits + 5):
            power = -power / (n * n)
            k += 2
            total += power / k
        return total
    with decimal.localcontext() as context:
        context.prec = digits + 10
        return 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


def erfc(x):
    if x != x:
        return NAN
    if abs(x) > 28:
        return 0.0 if x > 0 else 2.0
    return float(decimal_erfc(decimal.Decimal(x)))


def erf(x):
    if x != x or x == 0 or abs(x) > 28:
        return x if x != x or x == 0 else math.copysign(1.0, x)
    if abs(x) < 1e-10:
        return float(np.longdouble(x) * 2 / np.sqrt(np.longdouble(decimal_pi(30).__str__())))
    return float(1 - decimal_erfc(decimal.Decimal(x)))


def erf_inv(x):
    if x == 0 or x != x or abs(x) > 1:
        return x if x == 0 else NAN
    if abs(x) == 1:
        return math.copysign(INF, x)
    with decimal.localcontext() as context:
        context.prec = 60
        target, slope = 1 - abs(decimal.Decimal(x)), 2 / decimal_pi(60).sqrt()
        y = abs(decimal.Decimal(x)) / slope
        # Newton's method from below, where erf is concave.
        for _ in range(200):
            step = (decimal_erfc(y) - target) / (slope * (-y * y).exp())
            y += step
            if abs(step) <= y * decimal.Decimal(10) ** -30:
                break
        return math.copysign(float(y), x)


LONG_DOUBLE_UNARY = {
    "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "expm1": np.expm1, "log1p": np.log1p, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "cbrt": np.cbrt, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x: 1 / np.sqrt(x)}
DECIMAL_UNARY = {"erf": erf, "erfc": erfc, "erf_inv": erf_inv}


def unary(op, t):
    dtype, f = t.dtype, None
    if op in LONG_DOUBLE_UNARY:
        dtype = to_floating(dtype)
        f = lambda x: long_double(LONG_DOUBLE_UNARY[op], x)
    elif op in DECIMAL_UNARY:
        dtype, f = to_floating(dtype), lambda x: DECIMAL_UNARY[op](float(x))
    elif op == "sqrt":
        dtype, f = to_floating(dtype), lambda x: np.sqrt(np.float64(x))
    elif op == "negate": f = lambda x: -x
    elif op == "abs": f = abs
    elif op == "sign": f = sign
    elif op in ("floor", "ceil", "round"):
        whole = {"floor": np.floor, "ceil": np.ceil, "round": round_away}[op]
        f = (lambda x: float(whole(x))) if is_float(dtype) else (lambda x: x)
    elif op == "bitwise_not": f = lambda x: ~x
    elif op == "logical_not": dtype, f = "u8", lambda x: int(x == 0)
    elif op == "is_nan": dtype, f = "u8", lambda x: int(x != x)
    elif op == "is_infinity": dtype, f = "u8", lambda x: int(abs(x) == INF)
    elif op == "population_count": f = lambda x: bin(x & (2 ** bits(t.dtype) - 1)).count("1")
    elif op == "count_leading_zeros":
        f = lambda x: bits(t.dtype) - (x & (2 ** bits(t.dtype) - 1)).bit_length()
    else: raise KeyError(op)
    return Tensor(dtype, t.shape, [f(x) for x in t.values])


def cast(dtype, x):
    """as_type of one element: floats truncate, then wrap; NaN is 0; infinities are the limits."""
    if is_float(dtype) or not isinstance(x, float):
        return x
    if math.isnan(x):
        return 0
    if math.isinf(x):
        return int_range(dtype)[1 if x > 0 else 0]
    return math.trunc(x)


def as_type(t, dtype):
    return Tensor(dtype, t.shape, [cast(dtype, x) for x in t.values])


def bitcast(t, dtype):
    raw = np.array(t.values, dtype=NUMPY[t.dtype])
    return Tensor(dtype, t.shape, raw.view(NUMPY[dtype]).tolist())


# Test values


def specials(dtype):
    if is_float(dtype):
        tiny = float(np.finfo(NUMPY[dtype]).tiny)
        denormal = float(np.nextafter(np.array(0, NUMPY[dtype]), np.array(1, NUMPY[dtype])))
        top = float(np.finfo(NUMPY[dtype]).max)
        return [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, -7.75, NAN, INF, -INF, top, -top, tiny,
                -denormal, 1e-3, 123456.789]
    low, high = int_range(dtype)
    some = [0, 1, 2, 3, 7, high, high - 1, high // 2 + 1, high // 3]
    return some + ([-1, -2, -5, low, low + 1] if is_signed(dtype) else [200])


def pairs(values, other=None):
    other = values if other is None else other
    both = list(itertools.product(values, other))
    return [a for a, _ in both], [b for _, b in both]


class Random:
    """Numbers that depend on a name only, so that a new case leaves the others' data alone."""

    def __init__(self, name):
        self.rng = np.random.RandomState(zlib.crc32(name.encode()))

    def ints(self, low, high, n):
        return [int(x) for x in self.rng.randint(low, high + 1, size=n)]

    def small(self, dtype, shape, low=-9, high=9):
        """Small whole numbers: any sum or product of a few is exact in every dtype."""
        low = max(low, 0) if dtype[0] == "u" else low
        return Tensor(dtype, shape, self.ints(low, high, size_of(shape)))

    def wide(self, dtype, shape):
        """Any bit pattern for integers; normally distributed floats."""
        n = size_of(shape)
        if is_float(dtype):
            return Tensor(dtype, shape, [float(x) for x in self.rng.standard_normal(n) * 4])
        return Tensor(dtype, shape, [int.from_bytes(self.rng.bytes(8), "little") for _ in range(n)])

    def distinct(self, dtype, shape):
        """Every value once."""
        values = [int(v) for v in self.rng.permutation(size_of(shape))]
        offset = 0 if dtype[0] == "u" else size_of(shape) // 2
        return Tensor(dtype, shape, [v - offset for v in values])

    def pick(self, values, n):
        return [values[i] for i in self.ints(0, len(values) - 1, n)]
