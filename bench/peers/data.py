"""Writes the inputs of workloads.json as .npy files; every runner reads the same."""

import json
import sys
from pathlib import Path

import numpy as np


def make(spec, seed):
    generator = np.random.default_rng(seed)
    dtype = np.dtype(spec["dtype"])
    shape, low, high = spec["shape"], spec["low"], spec["high"]
    if dtype.kind in "iu":
        return generator.integers(low, high, shape, dtype)
    if dtype.kind == "c":
        real, imaginary = (generator.uniform(low, high, shape) for _ in range(2))
        return (real + 1j * imaginary).astype(dtype)
    return generator.uniform(low, high, shape).astype(dtype)


def write_all(table, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, spec) in enumerate(table["inputs"].items()):
        path, stamp = folder / f"{name}.npy", folder / f"{name}.json"
        text = json.dumps(spec)
        if not (path.exists() and stamp.exists() and stamp.read_text() == text):
            np.save(path, make(spec, seed))
            stamp.write_text(text)


if __name__ == "__main__":
    write_all(json.loads(Path(__file__).with_name("workloads.json").read_text()), Path(sys.argv[1]))
