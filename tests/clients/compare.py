"""Compares two tensors by the rules of protocol/golden/README.md."""

import numpy

# name: the unsigned integer with a float's bits, and how many of them are the fraction.
FLOATS = {
    "f8": ("<u1", 2),
    "f8_e4m3fn": ("<u1", 3),
    "f16": ("<u2", 10),
    "bf16": ("<u2", 7),
    "f32": ("<u4", 23),
    "f64": ("<u8", 52),
}
# A complex number is two of these.
PARTS = {"c64": "f32", "c128": "f64"}


# Some values of NaN signal when they are converted.
@numpy.errstate(invalid="ignore")
def difference(data, expected, ulp, abs=None):
    """None if `data` is what the tensor `expected` says, {dtype, shape, data}; or a text."""
    if data == expected["data"]:
        return None
    dtype = PARTS.get(expected["dtype"], expected["dtype"])
    if dtype not in FLOATS or len(data) != len(expected["data"]):
        return f"{data.hex()} instead of {expected['data'].hex()}"

    a, b = (numpy.frombuffer(each, FLOATS[dtype][0]) for each in (data, expected["data"]))
    a_nan, b_nan = is_nan(a, dtype), is_nan(b, dtype)
    good = (a == b) | (a_nan & b_nan)
    if ulp > 0:
        good |= ~a_nan & ~b_nan & (distance(a, b) <= ulp)
    if abs is not None:
        good |= numpy.abs(values(a, dtype) - values(b, dtype)) <= abs
    if good.all():
        return None
    at = int(numpy.argmin(good))
    found, wanted = (values(each[at : at + 1], dtype)[0] for each in (a, b))
    return f"number {at} is {found!r} instead of {wanted!r}"


def is_nan(bits, dtype):
    width, fraction = 8 * bits.itemsize, FLOATS[dtype][1]
    magnitude = bits & bits.dtype.type(2 ** (width - 1) - 1)
    if dtype == "f8_e4m3fn":
        return magnitude == 0x7F
    return magnitude > 2 ** (width - 1) - 2**fraction


def distance(a, b):
    """How many floats lie between two of them: +0 and -0 are 0 apart."""
    a, b = position(a), position(b)
    return numpy.where(a > b, a - b, b - a)


def position(bits):
    """The place of a float among all floats of its dtype, in their order."""
    sign = bits.dtype.type(2 ** (8 * bits.itemsize - 1))
    zero = numpy.uint64(2**63)
    magnitude = (bits & (sign - bits.dtype.type(1))).astype(numpy.uint64)
    return numpy.where(bits & sign, zero - magnitude, zero + magnitude)


def values(bits, dtype):
    """The floats with these bits, as f64 (f64 and all smaller dtypes fit)."""
    if dtype == "f8":  # the upper half of an f16
        return (bits.astype("<u2") << 8).view("<f2").astype("<f8")
    if dtype == "bf16":  # the upper half of an f32
        return (bits.astype("<u4") << 16).view("<f4").astype("<f8")
    if dtype == "f8_e4m3fn":
        return e4m3fn(bits)
    return bits.view(f"<f{bits.itemsize}").astype("<f8")


def e4m3fn(bits):
    exponent, fraction = (bits >> 3) & 15, (bits & 7) / 8
    normal = (1 + fraction) * 2.0 ** (exponent.astype(int) - 7)
    magnitude = numpy.where(exponent == 0, fraction * 2.0**-6, normal)
    magnitude = numpy.where((bits & 0x7F) == 0x7F, numpy.nan, magnitude)
    return numpy.where(bits & 0x80, -magnitude, magnitude)
