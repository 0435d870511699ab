"""Ours as its users meet it: outriggerd behind a pipe, each step one call of a prepared program.

Where the table says that a workload is called several times, the calls are pipelined, as the
Elixir client does; the time is divided.
"""

import os
import sys

from daemon import Daemon, program
from numpy_runner import primes_below_root
from runner import WORKLOADS, serve, workload

WORKLOADS.clear()  # NumPy's
daemon = Daemon(sys.argv[1], int(os.environ["OMP_NUM_THREADS"]))
held = set()  # handles of the present workload


def release_all():
    if held:
        daemon.ask("release", handles=list(held))
        held.clear()


def load(path):
    handle = daemon.load(path)
    held.add(handle)
    return handle


def once(description, inputs):
    """The result of a program that prepares inputs, which is not timed."""
    handle = daemon.new_id()
    daemon.ask("run", program=program(description, len(inputs)), args=inputs, results=[handle])
    held.add(handle)
    return handle


def prepared(description, inputs):
    """A step that calls a program with one result, and drops the result of the step before."""
    program_id = daemon.new_id()
    daemon.ask("prepare", program_id=program_id, program=program(description, len(inputs)))
    result = []

    def step():
        handle = daemon.new_id()
        if result:
            held.discard(result[0])
            daemon.send("release", handles=result)
        daemon.send("call", program_id=program_id, args=inputs, results=[handle])
        held.add(handle)
        result[:] = [handle]
        return handle

    return step


def prepared_in_place(description, inputs):
    """A step that changes the first input."""
    program_id = daemon.new_id()
    daemon.ask("prepare", program_id=program_id, program=program(description, len(inputs)))

    def step():
        daemon.send("call", program_id=program_id, args=inputs, results=[])
        return inputs[0]

    return step


def call(name):
    """The decorated `function(builder, steps, *params)` becomes a workload of one prepared call."""

    def register(function):
        workload(name)(lambda inputs, steps: prepared(lambda b, *v: function(b, steps, *v), inputs))
        return function

    return register


def call_in_place(name):
    """The same where the function gives nothing and changes its first parameter."""

    def register(function):
        workload(name)(
            lambda inputs, steps: prepared_in_place(lambda b, *v: function(b, steps, *v), inputs)
        )
        return function

    return register


call("add")(lambda b, steps, x, y: x + y)


@call_in_place("add scalar in place")
def add_scalar(b, steps, x):
    x.add(0.5, in_place=True)


@call_in_place("add in place")
def add_in_place(b, steps, x, y):
    x.add(y, in_place=True)


@call("fma chain")
def fma_chain(b, steps, x, y):
    z = x
    for _ in range(steps):
        z = z * y + x
    return z


call("tanh(a*b+1)*exp(-a)")(lambda b, steps, x, y: (x * y + 1).tanh() * (-x).exp())
for name in ("exp", "log", "sin", "erf"):
    call(name)(lambda b, steps, x, name=name: b.op(name, x))
call("tanh f64")(lambda b, steps, x: x.tanh())


def softmax(b, steps, x, axis=0):
    e = (x - x.reduce_max(axes=[axis], keep_axes=True)).exp()
    return e / e.sum(axes=[axis], keep_axes=True)


call("softmax 1M f32")(softmax)
call("softmax 1M f64")(softmax)
call("softmax 1000x1000 rows")(lambda b, steps, x: softmax(b, steps, x, 1))

call("sum")(lambda b, steps, x: x.sum())
call("sum axis 0 of 4000x4000")(lambda b, steps, x: x.sum(axes=[0]))
call("sum axis 1 of 4000x4000")(lambda b, steps, x: x.sum(axes=[1]))
call("argmax")(lambda b, steps, x: x.argmax())
call("argmax axis 0 of 4000x4000")(lambda b, steps, x: x.argmax(axis=0))
call("argmax axis 1 of 4000x4000")(lambda b, steps, x: x.argmax(axis=1))
call("cumulative sum")(lambda b, steps, x: x.cumulative_sum())
# A view as the result shares the memory: a reshape to the same shape asks for elements in order.
call("transpose copy 4000x4000")(lambda b, steps, x: x.transpose().reshape(shape=[16000000]))
for name in ("sort 1M", "sort 16M"):
    call(name)(lambda b, steps, x: x.sort())
for name in ("argsort 1M", "argsort 16M"):
    call(name)(lambda b, steps, x: x.argsort())


@call_in_place("scatter put 1M into 16M")
def scatter_put(b, steps, a, index, v):
    a.indexed_put(index.reshape(shape=[1000000, 1]), v, in_place=True)


@call_in_place("scatter add 1M into 16M")
def scatter_add(b, steps, a, index, v):
    a.indexed_add(index.reshape(shape=[1000000, 1]), v, in_place=True)


call("gather 1M of 16M")(lambda b, steps, a, index: a.take(index))


@call_in_place("put_slice of 1000 10000 times")
def put_slice(b, steps, a, piece):
    places = 16777216 - 1000

    def body(i):
        a.put_slice(piece, (i * 7919).remainder(places), in_place=True)
        return []

    b.turns(steps, [], body)


def window(b, u, row, column, height, width):
    return u.slice(row, column, lengths=[height, width])


@call_in_place("stencil 4096x4096")
def stencil(b, steps, u):
    def body(i):
        def at(row, column):
            return window(b, u, row, column, 4094, 4094)

        around = at(0, 1) + at(2, 1) + at(1, 0) + at(1, 2)
        u.put_slice(at(1, 1) + (around - at(1, 1) * 4) * 0.1, 1, 1, in_place=True)
        return []

    b.turns(steps, [], body)


def halves(b, pair):
    shape = PAIR_SHAPE[0]
    zeros = [0] * (len(shape) - 1)
    return [
        pair.slice(i, *zeros, lengths=[1, *shape[1:]]).reshape(shape=shape[1:]) for i in range(2)
    ]


PAIR_SHAPE = [None]


def dot(inputs, steps, **attrs):
    PAIR_SHAPE[0] = daemon.ask("info", handle=inputs[0])["shape"]
    pair = [once(lambda b, pair, i=i: halves(b, pair)[i] + 0, inputs) for i in range(2)]
    return prepared(lambda b, left, right: left.dot(right, **attrs), pair)


for name in ("dot 256 f32", "dot 256 f64", "dot 1024 f32", "dot 1024 f64", "dot 2048 f32",
             "dot 2048 f64"):
    workload(name)(dot)


@workload("dot 64 x 128x128")
def batched_dot(inputs, steps):
    return dot(inputs, steps, left_axes=[2], left_batch_axes=[0],
               right_axes=[1], right_batch_axes=[0])


call("conv 16x32x64x64")(
    lambda b, steps, image, kernel: image.conv(kernel, padding_low=[1, 1], padding_high=[1, 1])
)
for name in ("fft 2^20 c64", "fft 2^20 c128", "fft 1000003 c128"):
    call(name)(lambda b, steps, x: x.fft())


@workload("eigh 512")
def eigh(inputs, steps):
    symmetric = once(lambda b, x: (x + x.transpose()) / 2, inputs)
    return prepared(lambda b, x: b.op("eigh", x, results=2)[0], [symmetric])


call("svd 512")(lambda b, steps, x: b.op("svd", x, results=3)[1])
call("solve 512")(lambda b, steps, x, right: x.solve(right))


@call("while of 1M turns")
def while_loop(b, steps):
    start = b.op("constant", value=1, type="u32", shape=[])
    return b.turns(steps, [start], lambda i, x: [x * 1664525 + 1013904223])[0]


@call("n-body 1000")
def n_body(b, steps, start, masses):
    def body(i, p, v):
        d = p.reshape(shape=[3, 1, 1000]) - p.reshape(shape=[3, 1000, 1])
        r2 = (d * d).sum(axes=[0]) + 0.01
        w = r2.rsqrt()
        v = v + (d * (w * w * w * masses)).sum(axes=[2]) * 1e-4
        return [p + v * 1e-2, v]

    return b.turns(steps, [start, start * 0], body)[0]


@call("k-means 1Mx8")
def k_means(b, steps, points):
    def body(i, centres):
        dots = points.dot(centres, left_axes=[1], right_axes=[1])
        nearest = ((centres * centres).sum(axes=[1]) - dots * 2).argmin(axis=1)
        rows = nearest.reshape(shape=[1000000, 1])
        zero = b.op("constant", value=0, type="f32", shape=[16])
        one = b.op("constant", value=1, type="f32", shape=[])
        count = zero.indexed_add(rows, one.broadcast(shape=[1000000]))
        sums = (centres * 0).indexed_add(rows, points)
        return [sums / count.max(1).reshape(shape=[16, 1])]

    return b.turns(steps, [points.slice(0, 0, lengths=[16, 8])], body)[0]


@call("logistic map u32")
def logistic(b, steps, x):
    return b.turns(steps, [x], lambda i, x: [(x * (65536 - x)).right_shift(14)])[0]


@call("life 4096x4096")
def life(b, steps, start):
    def body(i, u):
        def at(row, column):
            return window(b, u, row, column, 4094, 4094)

        count = at(0, 0)
        for row, column in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
            count = count + at(row, column)
        # Three, or two and alive: count | cell is 3 in just these cases.
        return [u.put_slice(count.bitwise_or(at(1, 1)).equal(3), 1, 1)]

    return b.turns(steps, [start], body)[0]


@call("sieve of 10^7")
def sieve(b, steps):
    flags = b.op("constant", value=1, type="u8", shape=[steps])
    flags.slice(0, lengths=[2], in_place=True).fill(0, in_place=True)
    for p in primes_below_root(steps):
        lengths = [steps - p * p]
        flags.slice(p * p, lengths=lengths, strides=[p], in_place=True).fill(0, in_place=True)
    return flags.sum()


if __name__ == "__main__":
    serve(
        {"runner": "ours", "version": f"{daemon.hello['server']}, {daemon.hello['isa']}"},
        read=load,
        to_numpy=daemon.download,
        finish=daemon.wait,
        drop=release_all,
    )
