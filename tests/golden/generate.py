#!/usr/bin/python3
"""Writes protocol/golden/cases/*.msgpack. Run it with Debian's Python:

    /usr/bin/python3 tests/golden/generate.py

Needs python3-numpy and python3-msgpack. The same input gives the same bytes.
"""

import importlib
import pathlib
import sys

import msgpack

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE.parent.parent / "protocol" / "golden" / "cases"
FAMILIES = sorted(p.stem for p in (HERE / "families").glob("*.py") if p.stem != "__init__")


def main():
    sys.path.insert(0, str(HERE))
    CASES.mkdir(parents=True, exist_ok=True)
    total = 0
    written = set()
    for family in FAMILIES:
        cases = list(importlib.import_module(f"families.{family}").cases())
        names = [c["name"] for c in cases]
        twice = {n for n in names if names.count(n) > 1}
        assert not twice, f"{family}: names used twice: {sorted(twice)}"
        path = CASES / f"{family}.msgpack"
        path.write_bytes(msgpack.packb(cases, use_bin_type=True))
        written.add(path)
        total += len(cases)
        print(f"{family:12} {len(cases):5} cases {path.stat().st_size:9} bytes")
    for stale in set(CASES.glob("*.msgpack")) - written:
        stale.unlink()
    print(f"{'total':12} {total:5} cases {sum(p.stat().st_size for p in written):9} bytes")


if __name__ == "__main__":
    main()
