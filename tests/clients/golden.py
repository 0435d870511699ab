"""Runs the golden cases (protocol/golden/cases) through a client.

protocol/golden/README.md has the form of a case and the rules. Requests of many cases are on their
way at once: `Run.send` sends those of one case, `Run.problems` takes their replies later.
"""

import collections
import pathlib

import msgpack

from client import RequestError
from compare import difference

PROTOCOL = pathlib.Path(__file__).resolve().parents[2] / "protocol"
CASES = PROTOCOL / "golden" / "cases"
FAMILIES = sorted(path.stem for path in CASES.glob("*.msgpack"))

AHEAD_MAX = 32
# The in-place form of these makes a view and writes nothing; the view may have another shape.
VIEWS = {"slice", "reshape", "squeeze", "transpose", "reverse", "bitcast"}
PACKED = {"u2", "u4", "s2", "s4"}


def run_family(client, family, in_place_of):
    """The number of cases that ran, and a text for each mistake.

    in_place_of: op → position of the operand that its in-place form writes, from the catalogue.
    """
    count, problems, ahead = 0, [], collections.deque()

    def finish_first():
        run = ahead.popleft()
        problems.extend(f"{run.case['name']}: {problem}" for problem in run.problems())

    for case in msgpack.unpackb((CASES / f"{family}.msgpack").read_bytes()):
        position = in_place_of.get(case.get("op"))
        for variant in filter(None, (case, in_place(case, position))):
            count += 1
            ahead.append(Run(variant, position))
            ahead[-1].send(client)
            if len(ahead) == AHEAD_MAX:
                finish_first()
    while ahead:
        finish_first()
    return count, problems


def in_place(case, position):
    """The same case with `in_place`; None if the op or the case has no such form."""
    if position is None or "in_place" in case or "error" in case:
        return None
    operand, result = case["in"][position], case["out"][0]
    if "number" in operand:
        return None
    case = {**case, "name": f"{case['name']} in place", "in_place": True}
    if case["op"] in VIEWS:
        fits = case["op"] != "bitcast" or operand["dtype"] not in PACKED
    else:
        fits = operand["dtype"] == result["dtype"] and operand["shape"] == result["shape"]
    if not fits:
        case["error"] = "bad_dtype or bad_shape"
    return case


class Run:
    """One case in one session. position: as `in_place_of` has it for the op of the case."""

    def __init__(self, case, position):
        self.case = case
        self.operands = [operand for operand in case["in"] if "data" in operand]
        self.results = [] if "error" in case else case["out"]
        self.written = None
        if case.get("in_place") and self.results and case["op"] not in VIEWS:
            self.written = sum("data" in operand for operand in case["in"][:position])

    def send(self, client):
        """Sends all requests of the case."""
        self.client = client
        arguments = [client.new_handle() for _ in self.operands]
        program = self.case.get("program") or self._program_of_op()
        results = [client.new_handle() for _ in program["outputs"]]
        prepared = self.case.get("prepared", [])

        def downloads(handles, tensors):
            return [
                client.send("download", handle=handle, offset=0, length=len(tensor["data"]))
                for handle, tensor in zip(handles, tensors)
            ]

        self.begin = [
            client.send("upload", handle=handle, offset=0, **operand)
            for handle, operand in zip(arguments, self.operands)
        ]
        self.prepares = [client.send("prepare", **each) for each in prepared]
        self.run = client.send("run", program=program, args=arguments, results=results)
        self.result_data = downloads(results, self.results)
        self.operand_data = downloads(arguments, self.operands)
        self.end = [client.send("release", handles=arguments + results)]
        self.end += [client.send("forget", program_id=each["program_id"]) for each in prepared]

    def _program_of_op(self):
        """A program of one instruction, with a parameter for each operand that is no literal."""
        case, count = self.case, len(self.operands)
        parameters = iter(range(count))
        results = list(range(count, count + case.get("results", 1)))
        instruction = {
            "op": case["op"],
            "in": [o if "number" in o else next(parameters) for o in case["in"]],
            "out": results,
            "attrs": case["attrs"],
        }
        instruction.update((key, case[key]) for key in ("regions", "in_place") if key in case)
        return {"params": list(range(count)), "body": [instruction], "outputs": results}

    def problems(self):
        """Takes all replies; a text for each that is not as the case says."""
        begin = self._errors(self.begin)
        verdict = self._verdict()
        results = [self._data(id) for id in self.result_data]
        operands = [self._data(id) for id in self.operand_data]
        problems = begin + self._errors(self.end) + verdict
        if not problems:
            problems += map(self._compare_result, results, self.results)
            problems += map(self._compare_operand, operands, range(len(operands)))
        return [f"{problem}" for problem in problems if problem]

    def _verdict(self):
        """Compares the first error of the programs, or the types in the reply, with the case."""
        errors = self._errors(self.prepares)
        try:
            reply = self.client.wait(self.run)
        except RequestError as error:
            errors.append(error)
        if errors or "error" in self.case:
            code, expected = errors[0].code if errors else None, self.case.get("error")
            good = code and expected and code in expected.split(" or ")
            return [] if good else [f"error {code} instead of {expected}: {errors}"]
        types = [(tensor["dtype"], tensor["shape"]) for tensor in reply["results"]]
        expected = [(tensor["dtype"], tensor["shape"]) for tensor in self.results]
        return [] if types == expected else [f"types {types} instead of {expected}"]

    def _compare_result(self, data, expected):
        return difference(data, expected, self.case["ulp"], self.case.get("abs"))

    def _compare_operand(self, data, index):
        if index == self.written:
            return self._compare_result(data, self.results[0])
        if data != self.operands[index]["data"]:
            return f"operand {index} changed"

    def _data(self, id):
        try:
            return self.client.wait(id)["data"]
        except RequestError as error:
            return error

    def _errors(self, ids):
        errors = []
        for id in ids:
            try:
                self.client.wait(id)
            except RequestError as error:
                errors.append(error)
        return errors
