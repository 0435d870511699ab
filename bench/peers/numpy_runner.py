"""NumPy as its users write it: whole-array operations, with `out=` where that saves memory."""

import numpy as np

from runner import serve, workload


def primes_below_root(limit):
    root = int(limit**0.5)
    flags = np.ones(root + 1, bool)
    for i in range(2, int(root**0.5) + 1):
        flags[i * i :: i] = False
    return [int(p) for p in np.flatnonzero(flags) if p >= 2]


@workload("add")
def add(inputs, steps):
    a, b = inputs
    out = np.empty_like(a)
    return lambda: np.add(a, b, out=out)


@workload("add scalar in place")
def add_scalar(inputs, steps):
    (a,) = inputs
    return lambda: np.add(a, np.float32(0.5), out=a)


@workload("add in place")
def add_in_place(inputs, steps):
    a, b = inputs
    return lambda: np.add(a, b, out=a)


@workload("fma chain")
def fma_chain(inputs, steps):
    a, b = inputs
    y = np.empty_like(a)

    def step():
        np.multiply(a, b, out=y)
        np.add(y, a, out=y)
        for _ in range(steps - 1):
            np.multiply(y, b, out=y)
            np.add(y, a, out=y)
        return y

    return step


@workload("tanh(a*b+1)*exp(-a)")
def chain(inputs, steps):
    a, b = inputs
    y, z = np.empty_like(a), np.empty_like(a)

    def step():
        np.multiply(a, b, out=y)
        np.add(y, np.float32(1), out=y)
        np.tanh(y, out=y)
        np.negative(a, out=z)
        np.exp(z, out=z)
        return np.multiply(y, z, out=y)

    return step


def unary(function):
    def make(inputs, steps):
        out = np.empty_like(inputs[0])
        return lambda: function(inputs[0], out=out)

    return make


workload("exp")(unary(np.exp))
workload("log")(unary(np.log))
workload("sin")(unary(np.sin))
workload("tanh f64")(unary(np.tanh))


@workload("erf")
def erf(inputs, steps):
    import scipy.special  # NumPy has no erf; SciPy is installed with JAX

    out = np.empty_like(inputs[0])
    return lambda: scipy.special.erf(inputs[0], out=out)


def softmax(inputs, steps):
    (x,) = inputs
    out = np.empty_like(x)

    def step():
        np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
        np.exp(out, out=out)
        return np.divide(out, out.sum(axis=-1, keepdims=True), out=out)

    return step


for name in ("softmax 1M f32", "softmax 1M f64", "softmax 1000x1000 rows"):
    workload(name)(softmax)

workload("sum")(lambda inputs, steps: lambda: inputs[0].sum())
workload("sum axis 0 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].sum(axis=0))
workload("sum axis 1 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].sum(axis=1))
workload("argmax")(lambda inputs, steps: lambda: inputs[0].argmax())
workload("argmax axis 0 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].argmax(axis=0))
workload("argmax axis 1 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].argmax(axis=1))


@workload("cumulative sum")
def cumulative_sum(inputs, steps):
    out = np.empty_like(inputs[0])
    return lambda: np.cumsum(inputs[0], out=out)


@workload("transpose copy 4000x4000")
def transpose(inputs, steps):
    out = np.empty_like(inputs[0])

    def step():
        np.copyto(out, inputs[0].T)
        return out

    return step


for name in ("sort 1M", "sort 16M"):
    workload(name)(lambda inputs, steps: lambda: np.sort(inputs[0]))
for name in ("argsort 1M", "argsort 16M"):
    workload(name)(lambda inputs, steps: lambda: np.argsort(inputs[0]))


@workload("scatter put 1M into 16M")
def scatter_put(inputs, steps):
    a, index, v = inputs[0], inputs[1].astype(np.intp), inputs[2]

    def step():
        a[index] = v
        return a

    return step


@workload("scatter add 1M into 16M")
def scatter_add(inputs, steps):
    a, index, v = inputs[0], inputs[1].astype(np.intp), inputs[2]

    def step():
        np.add.at(a, index, v)
        return a

    return step


@workload("gather 1M of 16M")
def gather(inputs, steps):
    a, index = inputs[0], inputs[1].astype(np.intp)
    out = np.empty(index.shape, a.dtype)
    return lambda: np.take(a, index, out=out)


@workload("put_slice of 1000 10000 times")
def put_slice(inputs, steps):
    a, piece = inputs
    places = a.size - piece.size

    def step():
        for i in range(steps):
            start = i * 7919 % places
            a[start : start + piece.size] = piece
        return a

    return step


@workload("stencil 4096x4096")
def stencil(inputs, steps):
    u = inputs[0]
    change, times = np.empty_like(u[1:-1, 1:-1]), np.empty_like(u[1:-1, 1:-1])

    def step():
        inside = u[1:-1, 1:-1]
        for _ in range(steps):
            np.add(u[:-2, 1:-1], u[2:, 1:-1], out=change)
            np.add(change, u[1:-1, :-2], out=change)
            np.add(change, u[1:-1, 2:], out=change)
            np.multiply(inside, np.float32(4), out=times)
            np.subtract(change, times, out=change)
            np.multiply(change, np.float32(0.1), out=change)
            np.add(inside, change, out=inside)
        return u

    return step


def dot(inputs, steps):
    out = np.empty_like(inputs[0][0])
    return lambda: np.matmul(inputs[0][0], inputs[0][1], out=out)


for name in ("dot 256 f32", "dot 256 f64", "dot 1024 f32", "dot 1024 f64", "dot 2048 f32",
             "dot 2048 f64", "dot 64 x 128x128"):
    workload(name)(dot)


@workload("conv 16x32x64x64")
def conv(inputs, steps):
    image, kernel = inputs

    def step():
        padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        return np.tensordot(windows, kernel, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)

    return step


for name in ("fft 2^20 c64", "fft 2^20 c128", "fft 1000003 c128"):
    workload(name)(lambda inputs, steps: lambda: np.fft.fft(inputs[0]))


@workload("eigh 512")
def eigh(inputs, steps):
    symmetric = (inputs[0] + inputs[0].T) / 2
    # In descending order of magnitude, as Outrigger's.
    return lambda: (lambda w: w[np.argsort(-np.abs(w))])(np.linalg.eigh(symmetric)[0])


@workload("svd 512")
def svd(inputs, steps):
    return lambda: np.linalg.svd(inputs[0])[1]


@workload("solve 512")
def solve(inputs, steps):
    return lambda: np.linalg.solve(*inputs)


@workload("while of 1M turns")
def while_loop(inputs, steps):
    def step():  # plain Python: NumPy's scalars are slower
        x, i = 1, 0
        while i < steps:
            x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
            i = i + 1
        return np.uint32(x)

    return step


@workload("n-body 1000")
def n_body(inputs, steps):
    start, masses = inputs

    def step():
        p = start.copy()
        v = np.zeros_like(p)
        for _ in range(steps):
            d = p[:, None, :] - p[:, :, None]
            r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + np.float32(0.01)
            w = masses / (r2 * np.sqrt(r2))
            v += np.float32(1e-4) * (d * w).sum(axis=2)
            p += np.float32(1e-2) * v
        return p

    return step


@workload("k-means 1Mx8")
def k_means(inputs, steps):
    (points,) = inputs

    def step():
        centres = points[:16].copy()
        for _ in range(steps):
            distance = (centres * centres).sum(axis=1) - 2 * (points @ centres.T)
            nearest = distance.argmin(axis=1)
            count = np.bincount(nearest, minlength=16).astype(np.float32)
            sums = np.stack([np.bincount(nearest, points[:, j], 16) for j in range(8)], 1)
            centres = (sums / np.maximum(count, 1)[:, None]).astype(np.float32)
        return centres

    return step


@workload("logistic map u32")
def logistic(inputs, steps):
    start = inputs[0]
    x, y = np.empty_like(start), np.empty_like(start)

    def step():
        np.copyto(x, start)
        for _ in range(steps):
            np.subtract(np.uint32(65536), x, out=y)
            np.multiply(x, y, out=x)
            np.right_shift(x, np.uint32(14), out=x)
        return x

    return step


@workload("life 4096x4096")
def life(inputs, steps):
    start = inputs[0]

    def step():
        u = start.copy()
        inside = u[1:-1, 1:-1]
        count = np.empty_like(inside)
        for _ in range(steps):
            np.add(u[:-2, :-2], u[:-2, 1:-1], out=count)
            for other in (u[:-2, 2:], u[1:-1, :-2], u[1:-1, 2:],
                          u[2:, :-2], u[2:, 1:-1], u[2:, 2:]):
                np.add(count, other, out=count)
            # Three, or two and alive: count | cell is 3 in just these cases.
            np.bitwise_or(count, inside, out=count)
            np.equal(count, 3, out=inside, casting="unsafe")
        return u

    return step


@workload("sieve of 10^7")
def sieve(inputs, steps):
    primes = primes_below_root(steps)

    def step():
        flags = np.ones(steps, np.uint8)
        flags[:2] = 0
        for p in primes:
            flags[p * p :: p] = 0
        return flags.sum(dtype=np.uint32)

    return step


if __name__ == "__main__":
    serve({"runner": "NumPy", "version": np.__version__})
