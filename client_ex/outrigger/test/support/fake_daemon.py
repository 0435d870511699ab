#!/usr/bin/env python3
"""A stand-in for outriggerd that behaves badly in one way, named by its --mode.

It answers enough of the protocol to be taken for a daemon: every op gives a scalar f32 zero.
"""
import os
import signal
import struct
import sys
import time

MODES = """obedient     answers everything
dies         exits with status 3 at the 5th request after hello
silent       never answers hello
exits        exits at once
old          speaks protocol 99
garbage      answers hello, then writes text
huge         answers hello, then declares a frame of 2 GiB
deaf         answers hello, then reads no more
mute         answers hello, then reads, but answers nothing
floods       answers hello, then answers requests that nobody asked
stubborn     ignores SIGTERM and the end of its input
"""


def unpack(data, at):
    kind = data[at]
    at += 1
    if kind < 0x80:
        return kind, at
    if kind < 0x90:
        return unpack_map(data, at, kind & 15)
    if kind < 0xA0:
        return unpack_array(data, at, kind & 15)
    if kind < 0xC0:
        return unpack_bytes(data, at, kind & 31, True)
    if kind >= 0xE0:
        return kind - 256, at
    if kind in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[kind], at
    sizes = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I",
             0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q", 0xD9: "B", 0xDA: "H", 0xDB: "I",
             0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}
    form = ">" + sizes[kind]
    (number,) = struct.unpack_from(form, data, at)
    at += struct.calcsize(form)
    if kind in (0xC4, 0xC5, 0xC6):
        return unpack_bytes(data, at, number, False)
    if kind in (0xD9, 0xDA, 0xDB):
        return unpack_bytes(data, at, number, True)
    if kind in (0xDC, 0xDD):
        return unpack_array(data, at, number)
    if kind in (0xDE, 0xDF):
        return unpack_map(data, at, number)
    return number, at


def unpack_bytes(data, at, size, text):
    part = data[at:at + size]
    return (part.decode() if text else bytes(part)), at + size


def unpack_array(data, at, count):
    items = []
    for _ in range(count):
        item, at = unpack(data, at)
        items.append(item)
    return items, at


def unpack_map(data, at, count):
    items = {}
    for _ in range(count):
        key, at = unpack(data, at)
        items[key], at = unpack(data, at)
    return items, at


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return b"\xda" + struct.pack(">H", len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))
    return b"\xde" + struct.pack(">H", len(value)) + b"".join(
        pack(k) + pack(v) for k, v in value.items())


def read(count):
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def write(data):
    while data:
        data = data[os.write(1, data):]


def reply(request, **fields):
    payload = pack({"id": request["id"], "status": "ok", **fields})
    write(struct.pack(">I", len(payload)) + payload)


def hello(request, mode):
    limits = {"frame_bytes_max": 1 << 20, "requests_window": 4096, "bytes_window": 16 << 20,
              "handles_max": 1 << 20, "programs_max": 8, "instructions_max": 65536, "depth_max": 16,
              "program_bytes_max": 1 << 24, "reply_bytes_max": 1 << 25}
    if mode == "limitless":
        limits["bytes_window"] = None
    reply(request, protocol=99 if mode == "old" else 1, server="fake 1", epoch=os.getpid(),
          catalogue="0", os_pid=os.getpid(), threads=1, isa="none", memory_limit=0, limits=limits,
          lanes=["inline"])


def answer(request, tensors):
    kind = request["do"]
    results = []
    if kind in ("run", "call", "load"):
        handles = request.get("results", [request.get("handle")])
        for handle in handles:
            tensors[handle] = b"\0\0\0\0"
            results.append({"handle": handle, "dtype": "f32", "shape": []})
        reply(request, results=results)
    elif kind == "upload":
        data = tensors.get(request["handle"], b"") + request["data"]
        tensors[request["handle"]] = data
        width = int(request["dtype"][1:]) // 8
        count = 1
        for size in request["shape"]:
            count *= size
        if len(data) == count * width:
            results = [{k: request[k] for k in ("handle", "dtype", "shape")}]
        reply(request, results=results)
    elif kind == "download":
        start = request["offset"]
        reply(request, data=tensors[request["handle"]][start:start + request["length"]])
    elif kind == "info":
        reply(request, tensors=len(tensors), memory={}, requests=0)
    elif kind == "release":
        count = sum(1 for h in request["handles"] if tensors.pop(h, None) is not None)
        reply(request, released=count)
    elif kind == "cancel":
        reply(request, found=False)
    else:
        reply(request)


def main():
    mode = sys.argv[sys.argv.index("--mode") + 1] if "--mode" in sys.argv else "obedient"
    if mode == "exits":
        sys.exit(7)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tensors, count = {}, 0
    while True:
        if mode == "stubborn" and count > 0:
            time.sleep(3600)
        if mode == "deaf" and count > 0:
            time.sleep(3600)
        (size,) = struct.unpack(">I", read(4))
        request, _ = unpack(read(size), 0)
        count += 1
        if request["do"] == "hello":
            if mode == "silent":
                continue
            hello(request, mode)
            if mode == "garbage":
                write(b"Segmentation fault (core dumped)\n" * 10)
            if mode == "huge":
                write(struct.pack(">I", 2 << 30) + b"x" * 100)
            continue
        if mode == "dies" and count > 5:
            sys.exit(3)
        if mode == "mute":
            continue
        if mode.startswith("malformed") and request["do"] == "run":
            handle = request["results"][0]
            good = {"handle": handle, "dtype": "f32", "shape": []}
            reply(request, results=[7, [7], [dict(good, handle="x")], [dict(good, dtype=7)],
                                    [dict(good, shape=[2, None])], {"a": 1}][int(mode[9:])])
            continue
        if mode == "floods":
            for stray in range(1000):
                reply({"id": 1 << 40 | stray})
        answer(request, tensors)
        if request["do"] == "bye":
            sys.exit(0)


if __name__ == "__main__":
    main()
