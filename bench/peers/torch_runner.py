"""PyTorch on the CPU, eager, with `out=` and in-place forms where it has them."""

import os

import numpy as np
import torch

from numpy_runner import primes_below_root
from runner import WORKLOADS, serve, workload

WORKLOADS.clear()  # NumPy's
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.set_grad_enabled(False)


def out_of(function):
    def make(inputs, steps):
        out = torch.empty_like(inputs[0])
        return lambda: function(*inputs, out=out)

    return make


for name, function in {"add": torch.add, "exp": torch.exp, "log": torch.log, "sin": torch.sin,
                       "erf": torch.erf, "tanh f64": torch.tanh}.items():
    workload(name)(out_of(function))

workload("add scalar in place")(lambda inputs, steps: lambda: inputs[0].add_(0.5))
workload("add in place")(lambda inputs, steps: lambda: inputs[0].add_(inputs[1]))


@workload("fma chain")
def fma_chain(inputs, steps):
    a, b = inputs
    y = torch.empty_like(a)

    def step():
        torch.addcmul(a, a, b, out=y)
        for _ in range(steps - 1):
            torch.addcmul(a, y, b, out=y)
        return y

    return step


@workload("tanh(a*b+1)*exp(-a)")
def chain(inputs, steps):
    a, b = inputs
    y, z = torch.empty_like(a), torch.empty_like(a)

    def step():
        torch.mul(a, b, out=y).add_(1).tanh_()
        torch.neg(a, out=z).exp_()
        return y.mul_(z)

    return step


for name in ("softmax 1M f32", "softmax 1M f64", "softmax 1000x1000 rows"):
    workload(name)(lambda inputs, steps: lambda: torch.softmax(inputs[0], -1))

workload("sum")(lambda inputs, steps: lambda: inputs[0].sum())
workload("sum axis 0 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].sum(0))
workload("sum axis 1 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].sum(1))
workload("argmax")(lambda inputs, steps: lambda: inputs[0].argmax())
workload("argmax axis 0 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].argmax(0))
workload("argmax axis 1 of 4000x4000")(lambda inputs, steps: lambda: inputs[0].argmax(1))


@workload("cumulative sum")
def cumulative_sum(inputs, steps):
    out = torch.empty_like(inputs[0])
    return lambda: torch.cumsum(inputs[0], 0, out=out)


@workload("transpose copy 4000x4000")
def transpose(inputs, steps):
    out = torch.empty_like(inputs[0])
    return lambda: out.copy_(inputs[0].T)


for name in ("sort 1M", "sort 16M"):
    workload(name)(lambda inputs, steps: lambda: torch.sort(inputs[0])[0])
for name in ("argsort 1M", "argsort 16M"):
    workload(name)(lambda inputs, steps: lambda: torch.argsort(inputs[0]))


@workload("scatter put 1M into 16M")
def scatter_put(inputs, steps):
    a, index, v = inputs[0], inputs[1].long(), inputs[2]
    return lambda: a.index_put_((index,), v)


@workload("scatter add 1M into 16M")
def scatter_add(inputs, steps):
    a, index, v = inputs[0], inputs[1].long(), inputs[2]
    return lambda: a.index_add_(0, index, v)


@workload("gather 1M of 16M")
def gather(inputs, steps):
    a, index = inputs[0], inputs[1].long()
    out = torch.empty(index.shape)
    return lambda: torch.index_select(a, 0, index, out=out)


@workload("put_slice of 1000 10000 times")
def put_slice(inputs, steps):
    a, piece = inputs
    size = piece.numel()
    places = a.numel() - size

    def step():
        for i in range(steps):
            start = i * 7919 % places
            a[start : start + size] = piece
        return a

    return step


@workload("stencil 4096x4096")
def stencil(inputs, steps):
    u = inputs[0]
    change = torch.empty_like(u[1:-1, 1:-1])

    def step():
        inside = u[1:-1, 1:-1]
        for _ in range(steps):
            torch.add(u[:-2, 1:-1], u[2:, 1:-1], out=change)
            change.add_(u[1:-1, :-2]).add_(u[1:-1, 2:]).add_(inside, alpha=-4)
            inside.add_(change, alpha=0.1)
        return u

    return step


def dot(inputs, steps):
    out = torch.empty_like(inputs[0][0])
    return lambda: torch.matmul(inputs[0][0], inputs[0][1], out=out)


for name in ("dot 256 f32", "dot 256 f64", "dot 1024 f32", "dot 1024 f64", "dot 2048 f32",
             "dot 2048 f64", "dot 64 x 128x128"):
    workload(name)(dot)

workload("conv 16x32x64x64")(
    lambda inputs, steps: lambda: torch.nn.functional.conv2d(*inputs, padding=1)
)

for name in ("fft 2^20 c64", "fft 2^20 c128", "fft 1000003 c128"):
    workload(name)(lambda inputs, steps: lambda: torch.fft.fft(inputs[0]))


@workload("eigh 512")
def eigh(inputs, steps):
    symmetric = (inputs[0] + inputs[0].T) / 2
    return lambda: (lambda w: w[torch.argsort(-w.abs())])(torch.linalg.eigh(symmetric)[0])


workload("svd 512")(lambda inputs, steps: lambda: torch.linalg.svd(inputs[0])[1])
workload("solve 512")(lambda inputs, steps: lambda: torch.linalg.solve(*inputs))


@workload("while of 1M turns")
def while_loop(inputs, steps):
    def step():
        x, i = torch.tensor(1), torch.tensor(0)
        while i < steps:
            x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
            i = i + 1
        return x

    return step


@workload("n-body 1000")
def n_body(inputs, steps):
    start, masses = inputs

    def step():
        p = start.clone()
        v = torch.zeros_like(p)
        for _ in range(steps):
            d = p[:, None, :] - p[:, :, None]
            r2 = d.square().sum(0).add_(0.01)
            w = r2.rsqrt().pow_(3).mul_(masses)
            v.add_(d.mul_(w).sum(2), alpha=1e-4)
            p.add_(v, alpha=1e-2)
        return p

    return step


@workload("k-means 1Mx8")
def k_means(inputs, steps):
    (points,) = inputs

    def step():
        centres = points[:16].clone()
        for _ in range(steps):
            distance = torch.addmm((centres * centres).sum(1), points, centres.T, alpha=-2)
            nearest = distance.argmin(1)
            count = torch.bincount(nearest, minlength=16)
            sums = torch.zeros_like(centres).index_add_(0, nearest, points)
            centres = sums / count.clamp(min=1)[:, None]
        return centres

    return step


@workload("logistic map u32")
def logistic(inputs, steps):
    start = inputs[0].to(torch.int32)  # numbers below 2^31: PyTorch has no arithmetic on u32

    def step():
        x = start.clone()
        y = torch.empty_like(x)
        for _ in range(steps):
            torch.sub(65536, x, out=y)
            x.mul_(y).bitwise_right_shift_(14)
        return x

    return step


@workload("life 4096x4096")
def life(inputs, steps):
    start = inputs[0]

    def step():
        u = start.clone()
        inside = u[1:-1, 1:-1]
        count = torch.empty_like(inside)
        for _ in range(steps):
            torch.add(u[:-2, :-2], u[:-2, 1:-1], out=count)
            for other in (u[:-2, 2:], u[1:-1, :-2], u[1:-1, 2:],
                          u[2:, :-2], u[2:, 1:-1], u[2:, 2:]):
                count.add_(other)
            count.bitwise_or_(inside)
            torch.eq(count, 3, out=inside)
        return u

    return step


@workload("sieve of 10^7")
def sieve(inputs, steps):
    primes = primes_below_root(steps)

    def step():
        flags = torch.ones(steps, dtype=torch.uint8)
        flags[:2] = 0
        for p in primes:
            flags[p * p :: p] = 0
        return flags.sum()

    return step


if __name__ == "__main__":
    serve(
        {"runner": "PyTorch", "version": torch.__version__},
        read=lambda file: torch.from_numpy(np.load(file)),
        to_numpy=lambda tensor: tensor.numpy(),
    )
