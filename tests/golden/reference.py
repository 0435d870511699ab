"""Nx's element semantics, spelled out in plain Python: the oracle of the golden cases.

Nothing here knows the C++ code. Integers are exact Python ints that wrap when they are stored;
floats are float64 numbers that round once when they are stored as f32. Transcendental functions
are computed in the 80-bit long double and rounded once, so that the expected value is within half
an ulp of the truth (but for rare double rounding). Floats narrower than f32 are found in a sorted
list of all that their format has.
"""

import bisect
import decimal
import itertools
import math
import zlib

import numpy as np

INTS = ["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"]
FLOATS = ["f32", "f64"]
DTYPES = INTS + FLOATS
SMALL_INTS = ["u2", "u4", "s2", "s4"]
SMALL_FLOATS = ["f8", "f8_e4m3fn", "f16", "bf16"]
COMPLEX = ["c64", "c128"]
NUMPY = {"c64": "<c8", "c128": "<c16", "u8": "<u1", "u16": "<u2", "u32": "<u4", "u64": "<u8",
         "s8": "<i1",
         "s16": "<i2",
         "s32": "<i4", "s64": "<i8", "f32": "<f4", "f64": "<f8"}
NAN, INF = float("nan"), float("inf")

np.seterr(all="ignore")


class Format:
    """A small float: bits of exponent and mantissa; `fn` has no infinities and only one NaN."""

    def __init__(self, exponent, mantissa, fn):
        self.width = 1 + exponent + mantissa
        self.fn = fn
        bias = 2 ** (exponent - 1) - 1
        self.finite = []
        for pattern in range(2 ** (self.width - 1)):
            e, m = pattern >> mantissa, pattern & (2 ** mantissa - 1)
            if (e, m) == (2 ** exponent - 1, 2 ** mantissa - 1) if fn else e == 2 ** exponent - 1:
                break
            implicit = 2 ** mantissa if e > 0 else 0
            self.finite.append(math.ldexp(implicit + m, max(e, 1) - bias - mantissa))
        self.infinity = len(self.finite) - (1 if fn else 0)
        self.nan = 2 ** (self.width - 1) - 1 if fn else self.infinity + 2 ** (mantissa - 1)

    def encode(self, x):
        """The nearest number's bits, of two equally near ones the even one."""
        sign = (1 if math.copysign(1, x) < 0 else 0) << (self.width - 1)
        x = abs(x)
        if x != x:
            return self.nan
        top = self.finite[-1]
        # A larger number is rounded to infinity, or to the largest number.
        over = top + (top - self.finite[-2])
        if x > top:
            beyond = x == INF or 2 * x >= top + over
            return sign | (self.infinity if beyond or self.fn else len(self.finite) - 1)
        high = bisect.bisect_left(self.finite, x)
        low = high if self.finite[high] == x else high - 1
        # Exact: all of these are floats of few bits, or of the given one.
        below = x - self.finite[low]
        above = self.finite[high] - x
        nearer_high = above < below or (above == below and high % 2 == 0)
        return sign | (high if nearer_high else low)

    def decode(self, pattern):
        magnitude = pattern & (2 ** (self.width - 1) - 1)
        sign = -1.0 if pattern >> (self.width - 1) else 1.0
        if magnitude < len(self.finite):
            return sign * self.finite[magnitude]
        return sign * INF if not self.fn and magnitude == self.infinity else NAN


FORMATS = {"f8": Format(5, 2, False), "f8_e4m3fn": Format(4, 3, True), "f16": Format(5, 10, False),
           "bf16": Format(8, 7, False)}


def bits(dtype):
    return FORMATS[dtype].width if dtype in FORMATS else int(dtype[1:])


def kind(dtype):
    return dtype if dtype == "f8_e4m3fn" else dtype.rstrip("0123456789")


def is_float(dtype):
    return dtype in FORMATS or dtype[0] == "f"


def is_complex(dtype):
    return dtype[0] == "c"


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
    """The element of a tensor of dtype after a write of value: it wraps, or is rounded once."""
    if is_complex(dtype):
        return complex(np.complex64(value)) if dtype == "c64" else complex(value)
    if dtype in FORMATS:
        return FORMATS[dtype].decode(FORMATS[dtype].encode(float(value)))
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
        return {"dtype": self.dtype, "shape": list(self.shape), "data": self.data()}

    def data(self):
        """C order, little endian; integers below 8 bits from a byte's highest bits on."""
        if self.dtype in FORMATS:
            form = FORMATS[self.dtype]
            return b"".join(form.encode(x).to_bytes(form.width // 8, "little") for x in self.values)
        n = bits(self.dtype)
        if n >= 8:
            return np.array(self.values, dtype=NUMPY[self.dtype]).tobytes()
        text = "".join(format(x & (1 << n) - 1, f"0{n}b") for x in self.values)
        text += "0" * (-len(text) % 8)
        return bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))

    def array(self):
        """The values as a NumPy array of Python objects, for index operations."""
        out = np.empty(len(self.values), dtype=object)
        out[:] = self.values
        return out.reshape(self.shape)


def from_array(dtype, array):
    return Tensor(dtype, array.shape, array.reshape(-1).tolist())


# Types: Nx.Type


def merge(a, b):
    if kind(a) == kind(b):
        return a if bits(a) >= bits(b) else b
    order = {"u": 0, "s": 1, "bf": 2, "f": 3, "f8_e4m3fn": 3, "c": 4}
    low, high = (a, b) if order[kind(a)] < order[kind(b)] else (b, a)
    if high[0] == "s":
        return "s" + str(max(min(bits(low) * 2, 64), bits(high)))
    return "c128" if is_complex(high) and low == "f64" else high


def merge_number(dtype, number):
    """The dtype of an operation between a tensor of dtype and a literal."""
    if isinstance(number, complex):
        return merge(dtype, "c64")
    if dtype == "f8_e4m3fn":
        return "f32"
    if is_float(dtype) or is_complex(dtype):
        return dtype
    if isinstance(number, float):
        return "f32"
    if 0 <= number <= 1:
        return dtype
    if -2 <= number < 0:
        return dtype if is_signed(dtype) else "s" + str(min(bits(dtype) * 2, 64))
    if dtype[0] == "u" and number >= 0:
        need = next(n for n in (8, 16, 32, 64) if number < (1 << n))
        return "u" + str(max(need, bits(dtype)))
    signed = bits(dtype) if is_signed(dtype) else min(bits(dtype) * 2, 64)
    magnitude = -number - 1 if number < 0 else number
    need = next((n for n in (8, 16, 32, 64) if magnitude < (1 << (n - 1))), 64)
    return "s" + str(max(need, signed))


def infer(number):
    if isinstance(number, complex):
        return "c64"
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
    return dtype if is_float(dtype) or is_complex(dtype) else "f32"


def compute(dtype):
    """The dtype in which an operation on dtype is computed before its result is stored."""
    return "f32" if dtype in FORMATS else dtype


def to_aggregate(dtype):
    if is_float(dtype) or is_complex(dtype):
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


def binary_complex(op, x, y):
    if op == "add": return x + y
    if op == "subtract": return x - y
    if op == "multiply":
        return complex(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)
    if op == "divide": return complex(np.clongdouble(x) / np.clongdouble(y))
    if op == "pow": return complex(np.power(np.clongdouble(x), np.clongdouble(y)))
    if op == "atan2":
        y, x = np.clongdouble(x), np.clongdouble(y)
        return complex(-1j * np.log((x + 1j * y) / np.sqrt(x * x + y * y)))
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
    def values(v):
        if isinstance(v, Tensor):
            return broadcast_values(v, shape)
        return [store(compute(dtype), v)] * size_of(shape)

    xv, yv = values(x), values(y)
    return shape, list(zip(xv, yv))


def binary(op, x, y):
    shape, pairs = zip_operands(x, y)
    if op in PREDICATES:
        return Tensor("u8", shape, [int(predicate(op, a, b)) for a, b in pairs])
    dtype = type_of(x, y)
    if op in FLOATING_BINARY:
        dtype = to_floating(dtype)
    if is_complex(dtype):
        return Tensor(dtype, shape, [binary_complex(op, complex(a), complex(b)) for a, b in pairs])
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
    """erfc of a Decimal by the series of erf, with enough digits for the cancellation."""
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
        if is_complex(t.dtype):
            f = lambda x: complex(LONG_DOUBLE_UNARY[op](np.clongdouble(x)))
    elif op in DECIMAL_UNARY:
        dtype, f = to_floating(dtype), lambda x: DECIMAL_UNARY[op](float(x))
    elif op == "sqrt":
        dtype, f = to_floating(dtype), lambda x: np.sqrt(np.float64(x))
        if is_complex(t.dtype):
            f = lambda x: complex(np.sqrt(np.clongdouble(x)))
    elif op == "negate": f = lambda x: -x
    elif op == "abs":
        dtype = {"c64": "f32", "c128": "f64"}.get(dtype, dtype)
        f = abs
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
    if isinstance(x, complex) and not is_complex(dtype):
        x = x.real
    if is_float(dtype) or is_complex(dtype) or not isinstance(x, float):
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
    if is_complex(dtype):
        return [complex(a, b) for a, b in [(0, 0), (-0.0, 1), (1, -2), (3, 0.5), (-4, -0.25),
                                           (INF, 1), (1, -INF), (NAN, 2)]]
    if dtype in FORMATS:
        form = FORMATS[dtype]
        top, tiny = form.finite[-1], form.finite[1]
        some = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, -7.0, NAN, top, -top, tiny, -tiny, 0.1875]
        return some + ([] if form.fn else [INF, -INF])
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
    """Numbers that depend on a name only, so that a new case does not change the data of others."""

    def __init__(self, name):
        self.rng = np.random.RandomState(zlib.crc32(name.encode()))

    def ints(self, low, high, n):
        return [int(x) for x in self.rng.randint(low, high + 1, size=n)]

    def small(self, dtype, shape, low=-9, high=9):
        """Small integers: any sum or product of a few is exact in every dtype."""
        low = max(low, 0) if dtype[0] == "u" else low
        return Tensor(dtype, shape, self.ints(low, high, size_of(shape)))

    def wide(self, dtype, shape):
        """Any bit pattern for integers; normally distributed floats."""
        n = size_of(shape)
        if is_complex(dtype):
            return Tensor(dtype, shape, [complex(*self.rng.standard_normal(2)) for _ in range(n)])
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
