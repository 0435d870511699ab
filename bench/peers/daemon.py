"""A client of outriggerd for the bench, written from protocol/PROTOCOL.md."""

import struct
import subprocess

import msgpack
import numpy as np

DTYPES = {"f32": "f4", "f64": "f8", "s32": "i4", "s64": "i8", "u8": "u1", "u32": "u4", "u64": "u8",
          "c64": "c8", "c128": "c16"}


class Daemon:
    def __init__(self, program, threads):
        self.process = subprocess.Popen([program, "--threads", str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.last_id = 0
        self.pending = set()
        self.hello = self.ask("hello", protocol=1, client="bench")

    def send(self, do, **fields):
        self.last_id += 1
        body = msgpack.packb({"id": self.last_id, "do": do, **fields})
        self.process.stdin.write(struct.pack(">I", len(body)) + body)
        self.pending.add(self.last_id)
        return self.last_id

    def receive(self):
        (length,) = struct.unpack(">I", self.process.stdout.read(4))
        reply = msgpack.unpackb(self.process.stdout.read(length))
        self.pending.discard(reply["id"])
        if reply["status"] != "ok":
            raise RuntimeError(reply["error"]["text"])
        return reply

    def wait(self):
        """Waits until all requests are answered. Returns the last answer."""
        self.process.stdin.flush()
        reply = None
        while self.pending:
            reply = self.receive()
        return reply

    def ask(self, do, **fields):
        self.wait()
        self.send(do, **fields)
        return self.wait()

    def new_id(self):
        self.last_id += 1
        return self.last_id

    def load(self, path):
        handle = self.new_id()
        self.ask("load", handle=handle, path=str(path))
        return handle

    def download(self, handle):
        facts = self.ask("info", handle=handle)
        chunk, parts = self.hello["limits"]["frame_bytes_max"] - 1024, []
        for offset in range(0, facts["bytes"], chunk):
            length = min(chunk, facts["bytes"] - offset)
            parts.append(self.ask("download", handle=handle, offset=offset, length=length)["data"])
        return np.frombuffer(b"".join(parts), DTYPES[facts["dtype"]]).reshape(facts["shape"])


class Value:
    """An SSA value; its methods are the ops of the catalogue."""

    def __init__(self, builder, number):
        self.builder, self.number = builder, number

    def __getattr__(self, op):
        def apply(*operands, in_place=False, **attrs):
            return self.builder.op(op, self, *operands, in_place=in_place, **attrs)

        return apply

    def __add__(self, other):
        return self.builder.op("add", self, other)

    def __sub__(self, other):
        return self.builder.op("subtract", self, other)

    def __rsub__(self, other):
        return self.builder.op("subtract", other, self)

    def __mul__(self, other):
        return self.builder.op("multiply", self, other)

    def __rmul__(self, other):
        return self.builder.op("multiply", other, self)

    def __truediv__(self, other):
        return self.builder.op("divide", self, other)

    def __neg__(self):
        return self.builder.op("negate", self)


class Builder:
    """Traces a function of values into the program of PROTOCOL.md, section 5."""

    def __init__(self):
        self.next = 0
        self.bodies = []

    def value(self):
        self.next += 1
        return Value(self, self.next - 1)

    def op(self, name, *operands, in_place=False, regions=(), results=1, **attrs):
        out = [self.value() for _ in range(results)]
        instruction = {
            "op": name,
            "in": [x.number if isinstance(x, Value) else {"number": x} for x in operands],
            "out": [x.number for x in out],
            "attrs": attrs,
        }
        if regions:
            instruction["regions"] = list(regions)
        if in_place:
            instruction["in_place"] = True
        self.bodies[-1].append(instruction)
        return out[0] if results == 1 else out

    def region(self, function, arity):
        params = [self.value() for _ in range(arity)]
        self.bodies.append([])
        results = function(*params)
        if isinstance(results, Value):
            results = [results]
        return {
            "params": [x.number for x in params],
            "body": self.bodies.pop(),
            "outputs": [x.number for x in results or []],
        }

    def while_loop(self, initial, condition, body):
        regions = [self.region(condition, len(initial)), self.region(body, len(initial))]
        out = self.op("while", *initial, regions=regions, results=len(initial))
        return [out] if len(initial) == 1 else out

    def turns(self, count, initial, body):
        """`body(i, *state)` gives the next state, `count` times."""
        out = self.while_loop(
            [0, *initial],
            lambda i, *state: self.op("less", i, count),
            lambda i, *state: [i + 1, *body(i, *state)],
        )
        return out[1:]


def program(function, arity):
    """`function(builder, *params)` gives the results, or None."""
    builder = Builder()
    return builder.region(lambda *params: function(builder, *params), arity)
