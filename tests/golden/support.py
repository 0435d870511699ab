#!/usr/bin/python3
"""Writes docs/SUPPORT.md, which op takes which dtype, from the catalogue and the golden cases: the
matrix says what the tests see. With --check it writes nothing: it fails if the matrix is stale or
if no golden case runs an op, for ./run lint.

    /usr/bin/python3 tests/golden/support.py [--check]

Needs python3-msgpack.
"""

import collections
import json
import pathlib
import sys

import msgpack

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "docs" / "SUPPORT.md"
CASES = ROOT / "protocol" / "golden" / "cases"
KERNELS = ROOT / "protocol" / "golden" / "kernels" / "examples.msgpack"
YES, NO, NONE = "●", "–", "·"

HEAD = """# Ops and their dtypes

Made by `tests/golden/support.py` from the catalogue (`protocol/ops.json`) and the golden cases
(`protocol/golden/cases`), which every build runs: do not edit it. The dtype is that of the first
tensor operand, or the attribute `type` of an op without operands.

| sign | |
|---|---|
| ● | accepted; a golden case has the result |
| – | refused with `bad_dtype`: the op has no meaning for it |
| · | no golden case |

*ulp*: for elementwise ops on real numbers, the largest distance of an element from the exact
result, in units in the last place of the dtype of the computation (f32 for the floats below 32
bits); 0: the result is rounded correctly.
"""


def instructions(region):
    for instruction in region["body"]:
        yield instruction["op"]
        for inner in instruction.get("regions", []):
            yield from instructions(inner)


def dtype_of(case):
    tensors = [x["dtype"] for x in case["in"] if "dtype" in x]
    return tensors[0] if tensors else case.get("attrs", {}).get("type")


def collect():
    """Ops with a result, and ops with an error, by dtype."""
    taken, refused = collections.Counter(), collections.Counter()
    for path in sorted(CASES.glob("*.msgpack")):
        for case in msgpack.unpackb(path.read_bytes()):
            ops = {case["op"]} if "op" in case else set(instructions(case["program"]))
            if "op" not in case:
                # In programs, only ops with regions count: other ops have their own cases.
                ops &= {"while", "cond", "reduce", "window_reduce", "map"}
            for op in ops:
                counter = (
                    taken if "out" in case else refused if case["error"] == "bad_dtype" else None
                )
                if counter is not None:
                    counter[op, dtype_of(case)] += 1
    for case in msgpack.unpackb(KERNELS.read_bytes()):
        for operand in case["in"] if "out" in case else []:
            taken["kernel", operand["dtype"]] += 1
    return taken, refused


def sign(op, dtype, taken, refused):
    if taken[op["name"], dtype]:
        return YES
    if refused[op["name"], dtype] or (dtype[0] == "c" and not op["complex"]):
        return NO
    return NONE


def document(catalogue, taken, refused):
    dtypes = catalogue["dtypes"]
    lines = [HEAD]
    for family in dict.fromkeys(op["family"] for op in catalogue["ops"]):
        lines += [
            f"## {family}",
            "",
            "| op | " + " | ".join(dtypes) + " | ulp |",
            "|---|" + "---|" * (len(dtypes) + 1),
        ]
        for op in catalogue["ops"]:
            if op["family"] != family:
                continue
            signs = [sign(op, dtype, taken, refused) for dtype in dtypes]
            ulp = "" if op["ulp"] is None else format(op["ulp"], "g")
            lines.append(f"| `{op['name']}` | " + " | ".join(signs) + f" | {ulp} |")
        lines.append("")
    return "\n".join(lines)


def main():
    catalogue = json.loads((ROOT / "protocol" / "ops.json").read_text())
    taken, refused = collect()
    text = document(catalogue, taken, refused)
    if "--check" in sys.argv[1:]:
        seen = {op for op, _dtype in taken}
        without = [op["name"] for op in catalogue["ops"] if op["name"] not in seen]
        if without:
            sys.exit(f"no golden case runs {', '.join(without)}: see tests/golden/families")
        if not TARGET.exists() or TARGET.read_text() != text:
            sys.exit("docs/SUPPORT.md is stale: /usr/bin/python3 tests/golden/support.py")
        return
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
