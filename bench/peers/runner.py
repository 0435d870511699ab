"""What all Python runners share: they are told workloads on stdin and answer with JSON lines.

    load NAME STEPS CALLS FILE…   reads the inputs, runs once  ->  {"check": [sum, weighted, magnitude]}
    time                          runs again                   ->  {"ms": milliseconds of one call}

A workload that a runner does not have, or that fails, is answered with {"absent": "why"}.
"""

import json
import sys
import time

import numpy as np

WORKLOADS = {}


def workload(name):
    """Registers `function(inputs, steps)`, which gives a step: called without arguments it does the
    work, and gives the result (an array, or None where the peer only waits)."""

    def register(function):
        WORKLOADS[name] = function
        return function

    return register


def check(array):
    """Three numbers that tell a wrong result: sum, sum with changing weights, sum of magnitudes."""
    flat = np.asarray(array).reshape(-1)
    if np.iscomplexobj(flat):
        flat = flat.view(flat.real.dtype)
    flat = flat.astype(np.float64)
    weights = (np.arange(flat.size) % 1009 + 1) / 1009
    return [float(flat.sum()), float(flat @ weights), float(np.abs(flat).sum())]


def serve(describe, read=np.load, to_numpy=np.asarray, finish=lambda: None, drop=lambda: None):
    """Answers until stdin ends. `read` turns a file into what the workloads take, `finish` waits for
    steps that only set something going, `drop` forgets the workload before."""
    print(json.dumps(describe), flush=True)
    step, calls = None, 1
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        try:
            if command == "load":
                step = None  # the memory of the one before
                drop()
                name, steps, calls, files = words[0], int(words[1]), int(words[2]), words[3:]
                if name not in WORKLOADS:
                    answer = {"absent": "not written"}
                else:
                    step = WORKLOADS[name]([read(file) for file in files], steps)
                    answer = {"check": check(to_numpy(step()))}
            else:
                start = time.perf_counter()
                for _ in range(calls):
                    step()
                finish()
                answer = {"ms": (time.perf_counter() - start) * 1000 / calls}
        except Exception as error:  # noqa: BLE001: whatever it is, the table shows it
            step = None
            answer = {"absent": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)
