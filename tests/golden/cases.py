"""Writes golden cases in the form that protocol/golden/README.md documents."""

import json
import math
import pathlib

from reference import Tensor

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def catalogue():
    """The ops that the daemon describes."""
    return json.loads((ROOT / "protocol" / "ops.json").read_text())["ops"]


def wire_number(x):
    if isinstance(x, complex):
        return {"re": wire_number(x.real), "im": wire_number(x.imag)}
    if isinstance(x, float):
        if math.isnan(x):
            return "nan"
        if math.isinf(x):
            return "infinity" if x > 0 else "neg_infinity"
    return x


def wire_operand(x):
    return x.wire() if isinstance(x, Tensor) else {"number": wire_number(x)}


def _finish(case, out, error, ulp, abs_, in_place, prepared=None):
    if prepared:
        case["prepared"] = [{"program_id": i, "program": p} for i, p in prepared.items()]
    if in_place:
        case["in_place"] = True
    if error is not None:
        case["error"] = error
        return case
    case["out"] = [t.wire() for t in (out if isinstance(out, list) else [out])]
    case["ulp"] = ulp
    if abs_ is not None:
        case["abs"] = float(abs_)
    return case


def op_case(
    name,
    op,
    inputs,
    out=None,
    attrs=None,
    error=None,
    ulp=0,
    abs=None,
    in_place=False,
    regions=None,
    results=1,
    prepared=None,
):
    """One instruction. `out` is a Tensor or a list of them; `prepared` are programs by id."""
    case = {"name": name, "op": op, "attrs": attrs or {}, "in": [wire_operand(x) for x in inputs]}
    if regions is not None:
        case["regions"] = regions
    if isinstance(out, list):
        results = len(out)
    if results != 1:
        case["results"] = results
    return _finish(case, out, error, ulp, abs, in_place, prepared)


def program_case(name, program, inputs, out=None, error=None, ulp=0, abs=None, prepared=None):
    """A whole program; its parameters are the inputs in order."""
    case = {"name": name, "program": program, "in": [wire_operand(x) for x in inputs]}
    return _finish(case, out, error, ulp, abs, False, prepared)


class Region:
    """Writes wire regions: every method call on it adds an instruction and returns value ids."""

    def __init__(self, params=0, parent=None):
        self.ids = parent.ids if parent else [0]
        self.params = [self._new() for _ in range(params)]
        self.body = []

    def _new(self):
        self.ids[0] += 1
        return self.ids[0] - 1

    def op(self, name, *operands, results=1, attrs=None, in_place=False, regions=None):
        instruction = {
            "op": name,
            "in": [
                {"number": wire_number(x.value)} if isinstance(x, Number) else x for x in operands
            ],
        }
        out = [self._new() for _ in range(results)]
        instruction["out"] = out
        if attrs:
            instruction["attrs"] = attrs
        if in_place:
            instruction["in_place"] = True
        if regions:
            instruction["regions"] = regions
        self.body.append(instruction)
        return out[0] if results == 1 else out

    def child(self, params=0):
        return Region(params, self)

    def done(self, *outputs):
        return {"params": self.params, "body": self.body, "outputs": list(outputs)}


class Number:
    """A literal operand inside a Region."""

    def __init__(self, value):
        self.value = value
