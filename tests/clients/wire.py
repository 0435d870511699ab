"""Frames without a client: what a test sends to see the daemon's answer to exactly that."""

import struct

import msgpack

HELLO = {"id": 1, "do": "hello", "protocol": 1, "client": "test 1"}


def frame(message):
    body = message if isinstance(message, bytes) else msgpack.packb(message)
    return struct.pack(">I", len(body)) + body


def read_reply(stream):
    """The next reply; None at the end of the stream."""
    try:
        [length] = struct.unpack(">I", stream.read(4))
    except EOFError:
        return None
    return msgpack.unpackb(stream.read(length))


def ask(stream, message):
    """Sends one message, or the bytes of one; returns the next reply."""
    stream.write(frame(message))
    return read_reply(stream)


def code_of(reply):
    return reply["error"]["code"] if "error" in reply else reply["status"]
