#!/usr/bin/python3
"""Writes protocol/golden/cases/*.msgpack: `./run golden [FAMILY...]`, all families without a name.

Needs Debian's python3-numpy, python3-scipy and python3-msgpack. With `--check` nothing is written:
stale files are named, and the status is 1. Two machines agree but for the last digits of some
floats, since libraries take other paths on other processors: the check allows for these.
"""

import argparse
import importlib
import math
import pathlib
import sys

import msgpack
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE.parent.parent / "protocol" / "golden" / "cases"
FAMILIES = sorted(p.stem for p in (HERE / "families").glob("*.py") if p.stem != "__init__")


def encode(family):
    cases = list(importlib.import_module(f"families.{family}").cases())
    names = [c["name"] for c in cases]
    twice = {n for n in names if names.count(n) > 1}
    assert not twice, f"{family}: names used twice: {sorted(twice)}"
    return len(cases), msgpack.packb(cases, use_bin_type=True)


FLOATS = {"f32": np.float32, "f64": np.float64, "c64": np.complex64, "c128": np.complex128}


def same(a, b):
    """True if two decoded files agree, except for the last digits of floats."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.get("dtype") in FLOATS and a.keys() == b.keys() == {"dtype", "shape", "data"}:
            return a["dtype"] == b["dtype"] and a["shape"] == b["shape"] and close(a, b)
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or math.isclose(a, b, rel_tol=1e-9) or (a != a and b != b)
    return type(a) is type(b) and a == b


def close(a, b):
    if a["data"] == b["data"]:
        return True
    x, y = (np.frombuffer(t["data"], FLOATS[t["dtype"]]) for t in (a, b))
    if x.shape != y.shape:
        return False
    finite = np.abs(x[np.isfinite(x)])
    scale = float(finite.max()) if finite.size else 0.0
    digits = 1e-4 if a["dtype"] in ("f32", "c64") else 1e-9
    return np.allclose(x, y, rtol=digits, atol=digits * scale, equal_nan=True)


def is_current(path, data):
    if not path.exists():
        return False
    read = path.read_bytes()
    return read == data or same(*(msgpack.unpackb(d, raw=False) for d in (read, data)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    options = parser.parse_args()
    unknown = set(options.families) - set(FAMILIES)
    if unknown:
        parser.error(
            f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}"
        )
    sys.path.insert(0, str(HERE))
    CASES.mkdir(parents=True, exist_ok=True)
    stale = []
    for family in options.families or FAMILIES:
        count, data = encode(family)
        path = CASES / f"{family}.msgpack"
        if options.check:
            if not is_current(path, data):
                stale.append(path.name)
        else:
            path.write_bytes(data)
            print(f"{family:16} {count:5} cases {len(data):9} bytes")
    # The file's family does not exist any more.
    for path in sorted(CASES.glob("*.msgpack")):
        if path.stem in FAMILIES:
            continue
        if options.check:
            stale.append(path.name)
        else:
            path.unlink()
    if stale:
        print(f"stale in protocol/golden/cases: {', '.join(stale)}; write them by ./run golden")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
