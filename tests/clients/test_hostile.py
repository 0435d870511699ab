"""Broken frames over sockets: each gets an error, and the daemon and other sessions go on."""

import copy
import struct
import unittest

import msgpack
import numpy

import client
import daemon
import wire

REQUEST = {
    "id": 2,
    "do": "run",
    "program": {
        "params": [0],
        "body": [{"op": "iota", "out": [1], "attrs": {"type": "f32", "shape": [3]}}],
        "outputs": [1],
    },
    "args": [7],
    "results": [8],
}
BODY = msgpack.packb(REQUEST)
UPLOAD = {"do": "upload", "handle": 7, "dtype": "u8", "shape": [2], "offset": 0, "data": b"ab"}


def setUpModule():
    global server
    server = daemon.Server("--log-level", "off")
    unittest.addModuleCleanup(server.stop)


def changed(*path, to):
    """The request with another value at a place inside of it."""
    request = copy.deepcopy(REQUEST)
    place = request
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return wire.frame(request)


INSTRUCTION = ("program", "body", 0)
# The fault: the bytes, and the code of the answer.
MUTATIONS = {
    "the last byte is missing": (wire.frame(BODY[:-1]), "bad_frame"),
    "a byte too many": (wire.frame(BODY + b"\0"), "bad_frame"),
    "a frame of 4 GiB": (struct.pack(">I", 2**32 - 1), "bad_frame"),
    "a map of 2^32 - 1 entries": (wire.frame(b"\xdf\xff\xff\xff\xff" + BODY[1:]), "bad_frame"),
    "an extension type": (changed("args", to=[msgpack.ExtType(1, b"x")]), "bad_frame"),
    "an id below 1": (changed("id", to=-2), "bad_frame"),
    "deep nesting": (wire.frame(b"\x81\xa2id" + b"\x91" * 10**5 + b"\1"), "bad_frame"),
    "a key twice": (wire.frame(b"\x86" + BODY[1:] + b"\xa2do\xa3run"), "bad_request"),
    "a handle beyond 63 bits": (changed("results", to=[2**63]), "bad_request"),
    "a float for a handle": (changed("args", to=[7.0]), "bad_request"),
    "an unknown key": (changed("colour", to="red"), "bad_request"),
    "a parameter twice": (changed("program", "params", to=[0, 0]), "bad_program"),
    "a value that is not defined": (changed("program", "outputs", to=[9]), "bad_program"),
    "an unknown op": (changed(*INSTRUCTION, "op", to="\0" * 300), "unknown_op"),
    "a string for a shape": (changed(*INSTRUCTION, "attrs", "shape", to="3"), "bad_attr"),
    "more bytes than there are": (changed(*INSTRUCTION, "attrs", "shape", to=[2**61]), "bad_shape"),
}


@daemon.over_each("unix", "tcp", "tls")
class Hostile:
    def setUp(self):
        """Another session, which must notice nothing."""
        self.other = server.connect(self.transport)
        self.addCleanup(self.other.close)
        self.array = numpy.arange(1000)
        self.tensor = self.other.upload(self.array)

    def tearDown(self):
        self.assertIsNone(server.process.poll())
        numpy.testing.assert_array_equal(self.other.download(self.tensor), self.array)
        server.connect(self.transport).close()

    def session(self):
        stream = server.stream(self.transport)
        self.addCleanup(stream.close)
        for request in (wire.HELLO, {**UPLOAD, "id": 1}):
            self.assertEqual(wire.code_of(wire.ask(stream, request)), "ok")
        return stream

    def check_answer(self, stream, frame):
        """The answer to a frame: a code. The session goes on, or ends after it as it must."""
        stream.write(frame)
        reply = wire.read_reply(stream)
        code = wire.code_of(reply)
        self.assertTrue(code == "ok" or code in client.CLASSES, code)
        if code == "bad_frame":
            self.assertEqual(reply["id"], 0)
            self.assertIsNone(wire.read_reply(stream))
        else:
            self.assertGreaterEqual(reply["id"], 1)
            ping = wire.ask(stream, {"id": 3, "do": "ping"})
            self.assertEqual((ping["id"], wire.code_of(ping)), (3, "ok"))
        return code

    def test_mutations(self):
        self.assertEqual(self.check_answer(self.session(), wire.frame(BODY)), "ok")
        for what, (frame, code) in MUTATIONS.items():
            with self.subTest(what):
                self.assertEqual(self.check_answer(self.session(), frame), code)

    def test_each_byte_is_another_one(self):
        stream = self.session()
        for at in range(len(BODY)):
            for mask in (0x01, 0x80, 0xFF):
                body = bytearray(BODY)
                body[at] ^= mask
                with self.subTest(at=at, mask=mask):
                    if self.check_answer(stream, wire.frame(bytes(body))) == "bad_frame":
                        stream.close()
                        stream = self.session()

    def test_the_stream_ends_inside_of_a_frame(self):
        frame = wire.frame(BODY)
        for size in (1, 3, 4, 5, len(frame) - 1):
            stream = self.session()
            stream.write(frame[:size])
            stream.close()
        while self.other.info()["connection"]["sessions"] > 1:
            pass
