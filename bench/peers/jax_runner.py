"""JAX on the CPU: each workload is one compiled function, which gets the arrays that it changes in
place as donations."""

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402

from numpy_runner import primes_below_root  # noqa: E402
from runner import WORKLOADS, serve, workload  # noqa: E402

WORKLOADS.clear()  # NumPy's


def compiled(name):
    """The decorated function of the inputs and the steps becomes a workload."""

    def register(function):
        def make(inputs, steps):
            run = jax.jit(lambda *arrays: function(*arrays, steps=steps))
            return lambda: run(*inputs).block_until_ready()

        workload(name)(make)
        return function

    return register


def compiled_in_place(name):
    """`workload`, with the first input donated and replaced by the result."""

    def register(function):
        def make(inputs, steps):
            run = jax.jit(lambda *arrays: function(*arrays, steps=steps), donate_argnums=0)
            state, others = [inputs[0]], inputs[1:]

            def step():
                state[0] = run(state[0], *others).block_until_ready()
                return state[0]

            return step

        workload(name)(make)
        return function

    return register


compiled("add")(lambda a, b, steps: a + b)
compiled_in_place("add scalar in place")(lambda a, steps: a + np.float32(0.5))
compiled_in_place("add in place")(lambda a, b, steps: a + b)


@compiled("fma chain")
def fma_chain(a, b, steps):
    y = a
    for _ in range(steps):
        y = y * b + a
    return y


compiled("tanh(a*b+1)*exp(-a)")(lambda a, b, steps: jnp.tanh(a * b + 1) * jnp.exp(-a))
compiled("exp")(lambda x, steps: jnp.exp(x))
compiled("log")(lambda x, steps: jnp.log(x))
compiled("sin")(lambda x, steps: jnp.sin(x))
compiled("erf")(lambda x, steps: lax.erf(x))
compiled("tanh f64")(lambda x, steps: jnp.tanh(x))
for name in ("softmax 1M f32", "softmax 1M f64", "softmax 1000x1000 rows"):
    compiled(name)(lambda x, steps: jax.nn.softmax(x, -1))
compiled("sum")(lambda a, steps: a.sum())
compiled("sum axis 0 of 4000x4000")(lambda m, steps: m.sum(0))
compiled("sum axis 1 of 4000x4000")(lambda m, steps: m.sum(1))
compiled("argmax")(lambda x, steps: jnp.argmax(x))
compiled("argmax axis 0 of 4000x4000")(lambda m, steps: jnp.argmax(m, 0))
compiled("argmax axis 1 of 4000x4000")(lambda m, steps: jnp.argmax(m, 1))
compiled("cumulative sum")(lambda b, steps: jnp.cumsum(b))
compiled("transpose copy 4000x4000")(lambda m, steps: m.T.copy())
for name in ("sort 1M", "sort 16M"):
    compiled(name)(lambda x, steps: jnp.sort(x, stable=False))
for name in ("argsort 1M", "argsort 16M"):
    compiled(name)(lambda x, steps: jnp.argsort(x, stable=False))
compiled_in_place("scatter put 1M into 16M")(lambda a, index, v, steps: a.at[index].set(v))
compiled_in_place("scatter add 1M into 16M")(lambda a, index, v, steps: a.at[index].add(v))
compiled("gather 1M of 16M")(lambda a, index, steps: a[index])


@compiled_in_place("put_slice of 1000 10000 times")
def put_slice(a, piece, steps):
    places = a.size - piece.size
    body = lambda i, a: lax.dynamic_update_slice(a, piece, (i * 7919 % places,))  # noqa: E731
    return lax.fori_loop(0, steps, body, a)


@compiled_in_place("stencil 4096x4096")
def stencil(u, steps):
    def body(_, u):
        inside = u[1:-1, 1:-1]
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        return u.at[1:-1, 1:-1].set(inside + np.float32(0.1) * (around - 4 * inside))

    return lax.fori_loop(0, steps, body, u)


for name in ("dot 256 f32", "dot 256 f64", "dot 1024 f32", "dot 1024 f64", "dot 2048 f32",
             "dot 2048 f64", "dot 64 x 128x128"):
    compiled(name)(lambda pair, steps: pair[0] @ pair[1])


@compiled("conv 16x32x64x64")
def conv(image, kernel, steps):
    return lax.conv_general_dilated(image, kernel, (1, 1), ((1, 1), (1, 1)))


for name in ("fft 2^20 c64", "fft 2^20 c128", "fft 1000003 c128"):
    compiled(name)(lambda x, steps: jnp.fft.fft(x))


@compiled("eigh 512")
def eigh(square, steps):
    w, _ = jnp.linalg.eigh((square + square.T) / 2)
    return w[jnp.argsort(-jnp.abs(w))]


compiled("svd 512")(lambda square, steps: jnp.linalg.svd(square)[1])
compiled("solve 512")(lambda square, right, steps: jnp.linalg.solve(square, right))


@workload("while of 1M turns")
def while_loop(inputs, steps):
    def loop(start):
        body = lambda c: (c[0] * np.uint32(1664525) + np.uint32(1013904223), c[1] + 1)  # noqa: E731
        return lax.while_loop(lambda c: c[1] < steps, body, (start, jnp.int32(0)))[0]

    run = jax.jit(loop)
    return lambda: run(jnp.uint32(1)).block_until_ready()


@compiled("n-body 1000")
def n_body(start, masses, steps):
    def body(_, state):
        p, v = state
        d = p[:, None, :] - p[:, :, None]
        r2 = (d * d).sum(0) + np.float32(0.01)
        w = masses * lax.rsqrt(r2) ** 3
        v = v + np.float32(1e-4) * (d * w).sum(2)
        return p + np.float32(1e-2) * v, v

    return lax.fori_loop(0, steps, body, (start, jnp.zeros_like(start)))[0]


@compiled("k-means 1Mx8")
def k_means(points, steps):
    def body(_, centres):
        distance = (centres * centres).sum(1) - 2 * (points @ centres.T)
        nearest = distance.argmin(1)
        count = jnp.zeros(16, jnp.float32).at[nearest].add(1)
        sums = jnp.zeros_like(centres).at[nearest].add(points)
        return sums / jnp.maximum(count, 1)[:, None]

    return lax.fori_loop(0, steps, body, points[:16])


@compiled("logistic map u32")
def logistic(x, steps):
    return lax.fori_loop(0, steps, lambda _, x: x * (np.uint32(65536) - x) >> np.uint32(14), x)


@compiled("life 4096x4096")
def life(u, steps):
    def body(_, u):
        inside = u[1:-1, 1:-1]
        count = (u[:-2, :-2] + u[:-2, 1:-1] + u[:-2, 2:] + u[1:-1, :-2] + u[1:-1, 2:]
                 + u[2:, :-2] + u[2:, 1:-1] + u[2:, 2:])
        return u.at[1:-1, 1:-1].set(((count | inside) == 3).astype(u.dtype))

    return lax.fori_loop(0, steps, body, u)


@workload("sieve of 10^7")
def sieve(inputs, steps):
    # XLA has no strided update with a step that its compiler does not know: a mask does the same.
    primes = jnp.array(primes_below_root(steps), jnp.int32)

    def loop(primes):
        place = jnp.arange(steps, dtype=jnp.int32)

        def body(i, flags):
            p = primes[i]
            return jnp.where((place % p == 0) & (place >= p * p), jnp.uint8(0), flags)

        flags = jnp.ones(steps, jnp.uint8).at[:2].set(0)
        return lax.fori_loop(0, len(primes), body, flags).sum(dtype=jnp.uint32)

    run = jax.jit(loop)
    return lambda: run(primes).block_until_ready()


if __name__ == "__main__":
    serve(
        {"runner": "JAX", "version": jax.__version__},
        read=lambda file: jax.device_put(np.load(file)).block_until_ready(),
    )
