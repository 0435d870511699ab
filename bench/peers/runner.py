"""The common part of all Python runners: a runner reads commands on stdin and answers with lines of
JSON.

    load NAME STEPS CALLS FILE…   reads the inputs, runs once; answers
                                  {"check": [sum, weighted, magnitude]}
    time                          runs again; answers {"ms": milliseconds of one call}

A runner answers {"absent": "why"} for a workload that it does not have, or that fails.
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
    """Answers until stdin ends. `read` turns a file into an array of the peer, `finish` waits for
    work that a step only started, `drop` forgets the workload before."""
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
