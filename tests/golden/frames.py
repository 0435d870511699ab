#!/usr/bin/python3
"""Writes the golden frames of protocol/golden/frames/ (see the README there).

Needs python3-msgpack. Run it after a change of the protocol and commit what changes:

    tests/golden/frames.py
"""

import json
import pathlib
import struct
import textwrap

import msgpack

ROOT = pathlib.Path(__file__).resolve().parents[2] / "protocol" / "golden" / "frames"

ADD = {"op": "add", "in": [0, 1], "out": [2]}
SCALE = {"op": "multiply", "in": [2, {"number": 2.5}], "out": [3]}
PROGRAM = {"params": [0, 1], "body": [ADD, SCALE], "outputs": [3]}
LOOP = {
    "params": [0],
    "body": [
        {
            "op": "while",
            "in": [0],
            "out": [1],
            "regions": [
                {
                    "params": [2],
                    "body": [{"op": "less", "in": [2, {"number": 10}], "out": [3]}],
                    "outputs": [3],
                },
                {
                    "params": [4],
                    "body": [{"op": "add", "in": [4, {"number": 1}], "out": [5]}],
                    "outputs": [5],
                },
            ],
        }
    ],
    "outputs": [1],
}
ATTRS = {
    "params": [0],
    "body": [
        {
            "op": "put_slice",
            "in": [0, {"number": "neg_infinity"}],
            "out": [1],
            "attrs": {
                "axes": [0, -1],
                "keep_axes": True,
                "mode": "edge",
                "scale": 0.5,
                "count": -3,
                "table": b"\x00\xff",
            },
            "in_place": True,
        }
    ],
    "outputs": [1],
}

COMPLEX = {
    "params": [0],
    "body": [
        {"op": "constant", "out": [1],
         "attrs": {"value": {"re": 0.5, "im": "infinity"}, "type": "c64", "shape": [2]}},
        {"op": "multiply", "in": [1, {"number": {"re": 0, "im": -1}}], "out": [2]},
    ],
    "outputs": [2],
}

# sum(a :: f64[n]) :: f64
SUM = {
    "files": ["lib/a.ex"],
    "kernels": [{
        "name": "A.sum/1", "file": 0, "dims": 1, "params": [["in", "f64", [[0, 0]]]],
        "scratch": [], "local": [], "tensors": ["a"], "slots": ["f64", "s64"], "results": ["f64"],
        "nodes": [["number", 3, "f64", 0.0], ["set", 3, 0, 0], ["slot", 4, 0], ["slot", 4, 1],
                  ["load", 4, 0, [3]], ["add", 4, 2, 4], ["set", 4, 0, 5], ["number", 4, "s64", 0],
                  ["dim", 4, 0], ["number", 4, "s64", 1], ["subtract", 4, 8, 9],
                  ["number", 4, "s64", 1], ["for", 4, 1, 7, 10, 11, 0, None], ["slot", 5, 0],
                  ["return", 5, [13]]],
        "blocks": [[6], [1, 12, 14]],
    }],
}
# put(a :: mut(s32[n]), i :: s64), which calls one(i :: s64) :: s32
CALLS = {
    "files": ["lib/a.ex", "lib/b.ex"],
    "kernels": [{
        "name": "B.one/1", "file": 1, "dims": 0, "params": [["scalar", "s64"]],
        "scratch": [], "local": [], "tensors": [], "slots": ["s64"], "results": ["s32"],
        "nodes": [["slot", 8, 0], ["as", 8, "s32", 0], ["return", 8, [1]]],
        "blocks": [[2]],
    }, {
        "name": "A.put/2", "file": 0, "dims": 1,
        "params": [["mut", "s32", [[0, 0]]], ["scalar", "s64"]],
        "scratch": [["u8", [[0, 1]]]], "local": [["s64", 4]], "tensors": ["a", "t", "l"],
        "slots": ["s64"], "results": [],
        "nodes": [["slot", 3, 0], ["call", 3, 0, [0]], ["slot", 3, 0], ["store", 3, 0, [2], 1]],
        "blocks": [[3]],
    }],
}

LIMITS = {
    "frame_bytes_max": 1048576,
    "requests_window": 4096,
    "bytes_window": 16777216,
    "handles_max": 1048576,
    "programs_max": 1024,
    "instructions_max": 262144,
    "depth_max": 16,
    "nesting_max": 128,
    "program_bytes_max": 16777216,
    "results_max": 131072,
    "reply_bytes_max": 33554432,
}

# name, purpose, value
EVENTS = [
    ("event_published", "",
     {"event": "published", "subscription": 2, "name": "größe/1", "version": 13}),
    ("event_unpublished", "",
     {"event": "unpublished", "subscription": 2, "name": "größe/1", "version": 13}),
]

# name, purpose, value
MONITORED = [
    ("monitored", "",
     {"event": "request", "at_ms": 1796000000000, "session": 7, "token": "app", "request": 13,
      "kind": "run", "wait_us": 12, "run_us": 1500, "code": None, "dropped": 0}),
    ("monitored_late", "The reader was slow; the request had failed.",
     {"event": "request", "at_ms": 1796000000001, "session": 7, "token": "", "request": 14,
      "kind": "call", "wait_us": 0, "run_us": 3, "code": "bad_shape", "dropped": 300}),
]

# name, purpose, value
REQUESTS = [
    ("hello", "The first request of every session.",
     {"id": 1, "do": "hello", "protocol": 1, "client": "golden 1.0"}),
    ("auth", "Before hello, where the server wants a token.",
     {"id": 1, "do": "auth", "token": "4f1d0c9b7a2e4c5d8e9f"}),
    ("ping", "", {"id": 2, "do": "ping"}),
    ("ping_largest_id", "An id may use all 64 bits.", {"id": 2**64 - 1, "do": "ping"}),
    ("info", "About the session.", {"id": 3, "do": "info"}),
    ("info_handle", "About a tensor.", {"id": 4, "do": "info", "handle": 7}),
    ("upload", "A whole tensor in one chunk.",
     {"id": 5, "do": "upload", "handle": 7, "dtype": "s32", "shape": [2, 2], "offset": 0,
      "data": struct.pack("<4i", 1, -2, 3, -4)}),
    ("upload_chunk", "The second half of a tensor.",
     {"id": 6, "do": "upload", "handle": 8, "dtype": "f64", "shape": [2], "offset": 8,
      "data": struct.pack("<d", 1.5)}),
    ("upload_empty", "A tensor without elements.",
     {"id": 7, "do": "upload", "handle": 9, "dtype": "u8", "shape": [0, 3], "offset": 0,
      "data": b""}),
    ("download", "", {"id": 8, "do": "download", "handle": 7, "offset": 4, "length": 8}),
    ("load", "", {"id": 9, "do": "load", "handle": 10, "path": "/data/a.npy"}),
    ("load_member", "One array of an .npz file.",
     {"id": 10, "do": "load", "handle": 11, "path": "/data/a.npz", "member": "weights"}),
    ("load_raw", "The bytes of a file from byte 16 on.",
     {"id": 24, "do": "load_raw", "handle": 18, "path": "/data/a.raw", "dtype": "f32",
      "shape": [2, 3], "offset": 16}),
    ("load_csv", "A table with a line of names.",
     {"id": 25, "do": "load_csv", "handle": 19, "path": "/data/a.csv", "dtype": "f64",
      "separator": ";", "header": True}),
    ("load_csv_short", "Without optional keys.",
     {"id": 26, "do": "load_csv", "handle": 20, "path": "/data/a.csv", "dtype": "s32"}),
    ("save", "", {"id": 11, "do": "save", "handle": 7, "path": "/data/b.npy"}),
    ("save_npz", "", {"id": 28, "do": "save_npz", "handles": [7, 8], "names": ["a", "größe"],
     "path": "/data/b.npz",
                      "compress": True}),
    ("run", "Two operands, a literal, one result.",
     {"id": 12, "do": "run", "program": PROGRAM, "args": [7, 8], "results": [12]}),
    ("run_atomic", "All optional keys; a program with nested regions.",
     {"id": 13, "do": "run", "program": LOOP, "args": [7], "results": [13], "atomic": True,
      "deadline_ms": 5000}),
    ("run_attrs", "Every type of attribute, a literal that is not finite, an in-place op.",
     {"id": 14, "do": "run", "program": ATTRS, "args": [7], "results": [14]}),
    ("run_complex", "Complex numbers, as a literal and as an attribute.",
     {"id": 22, "do": "run", "program": COMPLEX, "args": [7], "results": [16]}),
    ("upload_packed", "Three elements of four bits: the last half byte is zero.",
     {"id": 23, "do": "upload", "handle": 17, "dtype": "u4", "shape": [3], "offset": 0,
      "data": b"\x12\x30"}),
    ("prepare", "", {"id": 15, "do": "prepare", "program_id": 1, "program": PROGRAM}),
    ("upload_program", "The last part of a program in msgpack.",
     {"id": 29, "do": "upload", "handle": 21, "dtype": "u8",
      "shape": [len(msgpack.packb(PROGRAM))], "offset": 64, "data": msgpack.packb(PROGRAM)[64:]}),
    ("prepare_handle", "A program that was uploaded.",
     {"id": 30, "do": "prepare", "program_id": 2, "handle": 21}),
    ("call", "", {"id": 16, "do": "call", "program_id": 1, "args": [7, 8], "results": [15]}),
    ("call_deadline", "",
     {"id": 17, "do": "call", "program_id": 1, "args": [7, 8], "results": [2**63 - 1],
      "atomic": False, "deadline_ms": 0}),
    ("call_deadline_largest", "A deadline may use all 64 bits.",
     {"id": 31, "do": "call", "program_id": 1, "args": [7, 8], "results": [22],
      "deadline_ms": 2**64 - 1}),
    ("call_profile", "Its reply tells what each step took.",
     {"id": 24, "do": "call", "program_id": 1, "args": [7, 8], "results": [18], "profile": True}),
    ("forget", "", {"id": 18, "do": "forget", "program_id": 1}),
    ("define_kernel", "A kernel that sums a tensor.",
     {"id": 37, "do": "define_kernel", "kernel_id": 5, "unit": SUM}),
    ("define_kernel_calls", "A kernel that writes in place, and calls another one.",
     {"id": 38, "do": "define_kernel", "kernel_id": 2**62, "unit": CALLS}),
    ("run_kernel", "As values.",
     {"id": 39, "do": "run", "args": [7], "results": [23],
      "program": {"params": [0], "outputs": [1],
                  "body": [{"op": "kernel", "in": [0], "out": [1], "attrs": {"kernel_id": 5}}]}}),
    ("run_kernel_in_place", "The operand itself is written.",
     {"id": 40, "do": "run", "args": [7], "results": [],
      "program": {"params": [0], "outputs": [],
                  "body": [{"op": "kernel", "in": [0, {"number": 3}], "out": [],
                            "attrs": {"kernel_id": 2**62}, "in_place": True}]}}),
    ("forget_kernel", "", {"id": 41, "do": "forget_kernel", "kernel_id": 5}),
    ("publish", "", {"id": 25, "do": "publish", "handle": 7, "name": "layer/1"}),
    ("publish_expect", "Only over version 1099511627776, for a minute.",
     {"id": 26, "do": "publish", "handle": 7, "name": "layer/1", "expect": 2**40,
      "ttl_ms": 60000}),
    ("open", "", {"id": 27, "do": "open", "handle": 60, "name": "layer/1"}),
    ("open_live", "", {"id": 28, "do": "open", "handle": 61, "name": "layer/1", "live": True}),
    ("open_version", "", {"id": 29, "do": "open", "handle": 62, "name": "layer/1",
                          "version": 2**40}),
    ("names", "", {"id": 30, "do": "names"}),
    ("names_page", "", {"id": 31, "do": "names", "prefix": "layer/", "after": "layer/1",
                        "limit": 100}),
    ("unpublish_expect", "", {"id": 32, "do": "unpublish", "name": "layer/1",
                              "expect": 2**40}),
    ("unpublish", "", {"id": 33, "do": "unpublish", "name": "layer/1"}),
    ("subscribe", "To one name.",
     {"id": 34, "do": "subscribe", "subscription": 1, "name": "layer/1"}),
    ("subscribe_prefix", "To all names that begin so.",
     {"id": 35, "do": "subscribe", "subscription": 2, "prefix": "größe/"}),
    ("unsubscribe", "", {"id": 36, "do": "unsubscribe", "subscription": 1}),
    ("checkpoint", "", {"id": 37, "do": "checkpoint"}),
    ("release", "", {"id": 19, "do": "release", "handles": [7, 8, 2**63 - 1]}),
    ("cancel", "", {"id": 20, "do": "cancel", "request": 13}),
    ("cancel_session", "A request of another session.",
     {"id": 42, "do": "cancel", "request": 13, "session": 2**40}),
    ("sessions", "", {"id": 43, "do": "sessions"}),
    ("sessions_page", "", {"id": 44, "do": "sessions", "after": 7, "limit": 100}),
    ("stats", "", {"id": 45, "do": "stats"}),
    ("slowlog", "", {"id": 46, "do": "slowlog"}),
    ("slowlog_limit", "", {"id": 47, "do": "slowlog", "limit": 10}),
    ("monitor", "", {"id": 48, "do": "monitor"}),
    ("monitor_end", "", {"id": 49, "do": "monitor", "on": False}),
    ("kick", "", {"id": 50, "do": "kick", "session": 2**40}),
    ("bye", "", {"id": 21, "do": "bye"}),
]

REPLIES = [
    ("reply_ok", "To ping, prepare, forget, save and bye.", {"id": 2, "status": "ok"}),
    ("reply_hello", "",
     {"id": 1, "status": "ok", "protocol": 1, "server": "outriggerd 0.1.0", "epoch": 2**64 - 1,
      "session": 7, "catalogue": "0123456789abcdef", "os_pid": 4321, "threads": 8,
      "isa": "x86-64-v3", "memory_limit": 2**33, "kept_limit": 2**28, "limits": LIMITS,
      "lanes": ["inline"], "kernels": "interpreted"}),
    ("reply_auth", "", {"id": 1, "status": "ok", "name": "app", "rights": ["read", "write"]}),
    ("reply_info", "",
     {"id": 3, "status": "ok", "memory": {"limit": 0, "used": 48, "peak": 64, "pooled": 16,
      "kept": 4096, "kept_limit": 268435456},
      "tensors": 3, "programs": 1, "queue": 2, "running": 13, "uptime_ms": 60000,
      "requests": 12, "compiler": "avx2", "code_bytes": 8192, "kernels": 2,
      "kernel_code": "interpreted: this daemon has no compiler of kernels"}),
    ("reply_info_idle", "Nothing runs.",
     {"id": 3, "status": "ok", "memory": {"limit": 0, "used": 0, "peak": 0, "pooled": 0,
      "kept": 0, "kept_limit": 0},
      "tensors": 0, "programs": 0, "queue": 0, "running": None, "uptime_ms": 0, "requests": 1,
      "compiler": "none", "code_bytes": 0, "kernels": 0, "kernel_code": ""}),
    ("reply_info_socket", "Over a socket.",
     {"id": 3, "status": "ok", "memory": {"limit": 0, "used": 0, "peak": 0, "pooled": 0,
      "kept": 0, "kept_limit": 0},
      "tensors": 0, "programs": 0, "queue": 0, "running": None, "uptime_ms": 0, "requests": 1,
      "compiler": "none", "code_bytes": 0, "kernels": 0, "kernel_code": "",
      "connection": {"session": 7, "sessions": 2, "transport": "tls", "peer": "[::1]:40312",
                     "token": "app", "rights": ["read", "write"]},
      "tenants": [{"token": "app", "priority": 20, "sessions": 2, "bytes": 4096, "handles": 3,
                   "programs": 1, "minute_ms": 1500, "engine_ms": 90000,
                   "quotas": {"bytes": 2**31, "handles": 100, "programs": 10, "sessions": 4,
                              "minute_ms": 30000}},
                  {"token": "ops", "priority": 10, "sessions": 0, "bytes": 0, "handles": 0,
                   "programs": 0, "minute_ms": 0, "engine_ms": 0, "quotas": {}}]}),
    ("reply_info_data", "With a data folder; the last checkpoint failed.",
     {"id": 3, "status": "ok", "memory": {"limit": 0, "used": 0, "peak": 0, "pooled": 0,
      "kept": 0, "kept_limit": 0},
      "tensors": 0, "programs": 0, "queue": 0, "running": None, "uptime_ms": 0, "requests": 1,
      "compiler": "none", "code_bytes": 0, "kernels": 0, "kernel_code": "",
      "checkpoint": {"number": 0, "taken_at_ms": None, "names": 0, "bytes": 0, "duration_ms": 0,
                     "changed": True, "error": "No space left on device"}}),
    ("reply_info_handle", "",
     {"id": 4, "status": "ok", "dtype": "s32", "shape": [2, 2], "bytes": 16, "contiguous": True,
      "shared": False}),
    ("reply_results", "To run, call, load, and the last chunk of an upload.",
     {"id": 12, "status": "ok",
      "results": [{"handle": 12, "dtype": "f32", "shape": [2, 300]},
                  {"handle": 13, "dtype": "u8", "shape": []}]}),
    ("reply_profile", "To a run or call with `profile`.",
     {"id": 24, "status": "ok", "results": [{"handle": 18, "dtype": "f32", "shape": []}],
      "profile": [{"index": [2, 1, 0], "ops": ["multiply", "add"], "calls": 3, "ns": 1500,
                   "bytes": 96},
                  {"index": [3], "ops": ["sum"], "calls": 1, "ns": 400, "bytes": 36}]}),
    ("reply_results_none", "To the other chunks of an upload.",
     {"id": 6, "status": "ok", "results": []}),
    ("reply_data", "To download.",
     {"id": 8, "status": "ok", "data": struct.pack("<2i", -2, 3)}),
    ("reply_version", "To publish.", {"id": 25, "status": "ok", "version": 12}),
    ("reply_opened", "To open.",
     {"id": 27, "status": "ok", "results": [{"handle": 60, "dtype": "s32", "shape": [2, 2]}],
      "version": 12}),
    ("reply_names", "",
     {"id": 30, "status": "ok", "names": [
         {"name": "layer/1", "version": 12, "dtype": "s32", "shape": [2, 2], "bytes": 16,
          "ttl_ms": None, "token": "app"},
         {"name": "layer/2", "version": 9, "dtype": "u4", "shape": [3], "bytes": 2,
          "ttl_ms": 60000, "token": ""}], "more": True}),
    ("reply_checkpoint", "",
     {"id": 37, "status": "ok",
      "checkpoint": {"number": 7, "taken_at_ms": 1796000000000, "names": 2, "bytes": 2048,
                     "duration_ms": 5, "changed": False, "error": None}}),
    ("reply_released", "", {"id": 19, "status": "ok", "released": 2}),
    ("reply_sessions", "",
     {"id": 43, "status": "ok", "sessions": [
         {"session": 7, "token": "app", "transport": "tls", "peer": "[::1]:40312",
          "age_ms": 60000, "requests": 12, "queue": 2, "tensors": 3, "bytes": 4096,
          "programs": 1, "running": {"request": 13, "kind": "call", "us": 1500}},
         {"session": 9, "token": "", "transport": "unix", "peer": "pid 4711 uid 1000",
          "age_ms": 0, "requests": 1, "queue": 0, "tensors": 0, "bytes": 0, "programs": 0,
          "running": None}], "more": True}),
    ("reply_stats", "",
     {"id": 45, "status": "ok", "uptime_ms": 60000, "engine_us": 2500000, "sessions": 2,
      "sessions_opened": 9, "kicked": 1, "queue": 2, "slow": 3, "slow_us": 1000000,
      "monitors": 1, "monitor_dropped": 300,
      "kinds": [{"kind": "run", "count": 5, "errors": 1, "us": 70,
                 "buckets": [0, 0, 1, 3, 0, 0, 1] + [0] * 21}],
      "ops": {"add": 7, "sum": 1}}),
    ("reply_slowlog", "",
     {"id": 46, "status": "ok", "slow_us": 1000000, "entries": [
         {"number": 3, "at_ms": 1796000000000, "session": 7, "token": "app", "request": 13,
          "kind": "run", "wait_us": 12, "run_us": 1500000, "code": "cancelled",
          "ops": {"add": 7, "sum": 1}}]}),
    ("reply_found", "To cancel and kick.", {"id": 20, "status": "ok", "found": True}),
    ("reply_error", "With all keys.",
     {"id": 12, "status": "error",
      "error": {"code": "bad_shape", "text": "add: shapes {2, 3} and {4} do not fit",
                "op": "add", "index": [3, 0, 2], "written": [7, 8]}}),
    ("reply_error_kernel", "An error of a kernel, with the line of its source.",
     {"id": 12, "status": "error",
      "error": {"code": "bad_index", "text": "A.at/2: index 3 of a is outside of 0..2",
                "op": "A.at/2", "index": [1], "at": {"file": "lib/a.ex", "line": 4},
                "written": []}}),
    ("reply_error_short", "Without op and index.",
     {"id": 4, "status": "error",
      "error": {"code": "bad_handle", "text": "no tensor has the handle 7", "written": []}}),
    ("reply_bad_frame", "The last reply of a session that sent a malformed frame.",
     {"id": 0, "status": "error",
      "error": {"code": "bad_frame", "text": "the frame is not msgpack", "written": []}}),
    ("reply_unauthorized", "The connection ends after it.",
     {"id": 1, "status": "error",
      "error": {"code": "unauthorized", "text": "no such token", "written": []}}),
    ("reply_quota_exceeded", "",
     {"id": 12, "status": "error",
      "error": {"code": "quota_exceeded",
                "text": "the token app has 100 handles, and its quota `handles` is 100",
                "written": []}}),
    ("reply_shutting_down", "The last frame of a connection may answer no request.",
     {"id": 0, "status": "error",
      "error": {"code": "shutting_down", "text": "the server stops", "written": []}}),
    ("reply_cancelled", "",
     {"id": 13, "status": "cancelled",
      "error": {"code": "cancelled", "text": "cancelled", "written": []}}),
    ("reply_deadline_exceeded", "",
     {"id": 13, "status": "deadline_exceeded",
      "error": {"code": "deadline_exceeded", "text": "the deadline has passed", "written": []}}),
]


def request(**keys):
    return msgpack.packb({"id": 5, **keys})


def program(instruction):
    return request(do="prepare", program_id=1,
                   program={"params": [], "body": [instruction], "outputs": []})


def nested(depth):
    return b"\x91" * (depth - 1) + b"\x90"


def with_kernel(without=None, **changed):
    """A definition of SUM with other keys in its kernel."""
    kernel = {**SUM["kernels"][0], **changed}
    kernel.pop(without, None)
    return request(do="define_kernel", kernel_id=1, unit={**SUM, "kernels": [kernel]})


# name, code, the mistake, the payload
BAD = [
    ("empty", "bad_frame", "No value at all.", b""),
    ("not_msgpack", "bad_frame", "0xc1 is never used.", b"\xc1"),
    ("no_map", "bad_frame", "An array.", msgpack.packb([1])),
    ("truncated", "bad_frame", "The last byte is missing.", request(do="ping")[:-1]),
    ("trailing", "bad_frame", "A byte too many.", request(do="ping") + b"\xc0"),
    ("extension", "bad_frame", "Extension types are refused.",
     request(do="ping", x=msgpack.ExtType(1, b"x"))),
    ("key_integer", "bad_frame", "A key that is no string.", msgpack.packb({"id": 5, 1: 2})),
    ("too_deep", "bad_frame", "Nested 1100 deep.",
     b"\x82\xa2id\x05\xa2do" + nested(1100)),
    ("huge_array", "bad_frame", "Declares 2^32 - 1 items and has none.",
     b"\x82\xa2id\x05\xa2do\xdd\xff\xff\xff\xff"),
    ("huge_map", "bad_frame", "Declares 2^32 - 1 entries and has none.", b"\xdf\xff\xff\xff\xff"),
    ("huge_string", "bad_frame", "Declares 2^32 - 1 bytes and has none.",
     b"\x82\xa2id\x05\xa2do\xdb\xff\xff\xff\xff"),
    ("id_missing", "bad_frame", "", msgpack.packb({"do": "ping"})),
    ("id_zero", "bad_frame", "", msgpack.packb({"id": 0, "do": "ping"})),
    ("id_negative", "bad_frame", "", msgpack.packb({"id": -1, "do": "ping"})),
    ("id_float", "bad_frame", "", msgpack.packb({"id": 1.0, "do": "ping"})),
    ("do_missing", "bad_request", "", request()),
    ("do_mistyped", "bad_request", "", request(do=7)),
    ("do_unknown", "bad_request", "", request(do="fly")),
    ("key_missing", "bad_request", "", request(do="hello", protocol=1)),
    ("key_unknown", "bad_request", "", request(do="ping", pong=True)),
    ("key_twice", "bad_request", "", b"\x83\xa2id\x05\xa2do\xa4ping\xa2id\x05"),
    ("key_mistyped", "bad_request", "", request(do="release", handles=7)),
    ("handle_zero", "bad_request", "", request(do="release", handles=[0])),
    ("handle_too_large", "bad_request", "", request(do="release", handles=[2**63])),
    ("deadline_negative", "bad_request", "",
     request(do="call", program_id=1, args=[], results=[], deadline_ms=-1)),
    ("name_empty", "bad_request", "", request(do="publish", handle=1, name="")),
    ("name_too_long", "bad_request", "", request(do="open", handle=1, name="x" * 256)),
    ("name_control", "bad_request", "", request(do="unpublish", name="a\nb")),
    ("subscribe_both", "bad_request", "A name or a prefix.",
     request(do="subscribe", subscription=1, name="a", prefix="a")),
    ("names_limit", "bad_request", "", request(do="names", limit=1001)),
    ("sessions_limit", "bad_request", "", request(do="sessions", limit=1001)),
    ("kick_nobody", "bad_request", "", request(do="kick")),
    ("token_empty", "bad_request", "", request(do="auth", token="")),
    ("token_too_long", "bad_request", "", request(do="auth", token="x" * 1025)),
    ("optional_nil", "bad_request", "An optional key is absent, not nil.",
     request(do="info", handle=None)),
    ("data_string", "bad_request", "Data must be a binary.",
     request(do="upload", handle=1, dtype="u8", shape=[1], offset=0, data="x")),
    ("shape_negative", "bad_request", "",
     request(do="upload", handle=1, dtype="u8", shape=[-1], offset=0, data=b"")),
    ("program_missing", "bad_request", "", request(do="prepare", program_id=1)),
    ("unit_missing", "bad_request", "", request(do="define_kernel", kernel_id=1)),
    ("kernel_id_zero", "bad_request", "", request(do="define_kernel", kernel_id=0, unit=SUM)),
    ("unit_unknown_key", "bad_request", "",
     request(do="define_kernel", kernel_id=1, unit={**SUM, "more": 1})),
    ("unit_kernel_key_missing", "bad_request", "", with_kernel(without="blocks")),
    ("unit_dtype_unknown", "bad_request", "Kernels have no f16.",
     with_kernel(slots=["f16", "s64"])),
    ("unit_node_unknown", "bad_request", "", with_kernel(nodes=[["fly", 1]])),
    ("unit_node_short", "bad_request", "", with_kernel(nodes=[["add", 1, 0]])),
    ("unit_node_parallel", "bad_request", "Parallel loops are not there yet.",
     with_kernel(nodes=[["for", 1, 0, 0, 0, 0, 0, True]])),
    ("unit_number_too_large", "bad_request", "", with_kernel(nodes=[["number", 1, "u8", 256]])),
    ("program_twice", "bad_request", "A program is in the frame or under a handle.",
     request(do="prepare", program_id=1, handle=1,
             program={"params": [], "body": [], "outputs": []})),
    ("instruction_no_map", "bad_request", "", program(7)),
    ("instruction_no_op", "bad_request", "", program({"out": [1]})),
    ("instruction_unknown_key", "bad_request", "", program({"op": "add", "inputs": []})),
    ("value_id_too_large", "bad_request", "", program({"op": "add", "out": [2**31]})),
    ("literal_string", "bad_request", "", program({"op": "add", "in": [{"number": "1"}]})),
    ("literal_complex_half", "bad_request", "A complex number has both parts.",
     program({"op": "add", "in": [{"number": {"re": 1}}]})),
    ("literal_complex_nested", "bad_request", "The parts of a complex number are real.",
     program({"op": "add", "in": [{"number": {"re": 1, "im": {"re": 1, "im": 1}}}]})),
    ("attr_map", "bad_attr", "",
     program({"op": "constant", "attrs": {"value": {"re": 1, "im": 2, "phase": 3}}})),
    ("attr_nil", "bad_attr", "", program({"op": "sum", "attrs": {"axes": None}})),
    ("attr_floats", "bad_attr", "", program({"op": "sum", "attrs": {"axes": [0.5]}})),
    ("attr_twice", "bad_attr", "",
     program({"op": "sum", "attrs": {"axis1": 0, "axis2": 0}}).replace(b"axis2", b"axis1")),
]


def as_json(value):
    """JSON, where a binary is {"$hex": "…"}."""
    return json.dumps(value, ensure_ascii=True,
                      default=lambda data: {"$hex": data.hex()}
                       if isinstance(data, bytes) else str(data))


def write(path, header, frame):
    lines = textwrap.wrap(frame.hex(" "), 95)
    comments = [f"# {line}" for line in header if line]
    path.write_text("\n".join(comments + lines) + "\n")


def framed(payload):
    return struct.pack(">I", len(payload)) + payload


def main():
    for folder in ("good", "bad"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
        for old in (ROOT / folder).glob("*.hex"):
            old.unlink()
    for name, about, value in REQUESTS:
        write(ROOT / "good" / f"{name}.hex",
              [f"kind: {value['do']}", about, f"value: {as_json(value)}"],
              framed(msgpack.packb(value)))
    for name, about, value in REPLIES:
        write(ROOT / "good" / f"{name}.hex",
              ["kind: reply", about, f"value: {as_json(value)}"], framed(msgpack.packb(value)))
    for name, about, value in EVENTS:
        write(ROOT / "good" / f"{name}.hex",
              ["kind: event", about, f"value: {as_json(value)}"], framed(msgpack.packb(value)))
    for name, about, value in MONITORED:
        write(ROOT / "good" / f"{name}.hex",
              ["kind: monitored", about, f"value: {as_json(value)}"],
              framed(msgpack.packb(value)))
    for name, code, about, payload in BAD:
        write(ROOT / "bad" / f"{name}.hex", [f"code: {code}", about], framed(payload))
    write(ROOT / "bad" / "frame_too_long.hex",
          ["code: bad_frame", "A header that declares 16 MiB; it must be refused before "
            "any more comes."],
          struct.pack(">I", 16 << 20))


if __name__ == "__main__":
    main()
