"""The training step of nx.exs in JAX. For each line on stdin, the program takes 20 steps and prints
the microseconds of one step."""

import functools
import sys
import time

import jax
import jax.numpy as jnp

STEPS = 20


def loss(parameters, x, labels):
    w1, b1, w2, b2 = parameters
    hidden = jnp.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - jnp.log(jnp.exp(shifted).sum(axis=1, keepdims=True))
    return -(log_softmax * labels).sum(axis=1).mean()


@functools.partial(jax.jit, donate_argnums=0)
def step(parameters, x, labels):
    value, gradients = jax.value_and_grad(loss)(parameters, x, labels)
    return value, [p - 0.1 * g for p, g in zip(parameters, gradients)]


def main():
    keys = jax.random.split(jax.random.key(1), 3)
    parameters = [0.05 * jax.random.normal(keys[0], (784, 128)), jnp.zeros(128),
                  0.05 * jax.random.normal(keys[1], (128, 10)), jnp.zeros(10)]
    x = jax.random.uniform(keys[2], (128, 784))
    labels = (jnp.arange(128)[:, None] % 10 == jnp.arange(10)).astype(jnp.float32)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            value, parameters = step(parameters, x, labels)
        value.block_until_ready()
        jax.block_until_ready(parameters)
        print((time.perf_counter() - start) / STEPS * 1e6, flush=True)


main()
