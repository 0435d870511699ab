"""The golden cases and the golden frames (protocol/golden), over each transport."""

import json
import unittest

import msgpack

import client
import compare
import daemon
import golden
import wire

FRAMES = golden.PROTOCOL / "golden" / "frames"


def setUpModule():
    global daemons, in_place_of
    daemons = daemon.Daemons()
    unittest.addModuleCleanup(daemons.stop)
    in_place_of = {name: op["in_place"] for name, op in daemon.catalogue().items()}


@daemon.over_each(*daemon.TRANSPORTS)
class Cases:
    """A test for each family: the methods are made below."""

    @classmethod
    def setUpClass(cls):
        cls.client = daemons.connect(cls.transport)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()

    def run_family(self, family):
        count, problems = golden.run_family(self.client, family, in_place_of)
        self.assertGreater(count, 0)
        self.assertFalse(problems, f"{len(problems)} mistakes in {count} runs: {problems[:10]}")
        self.assertEqual(self.client.info()["tensors"], 0)


for family in golden.FAMILIES:
    setattr(Cases, f"test_{family}", lambda self, family=family: self.run_family(family))


class Comparison(unittest.TestCase):
    """The rules of the cases above. A rule that accepts too much would hide mistakes."""

    def equal(self, dtype, found, expected, ulp=0, abs=None):
        tensor = {"dtype": dtype, "data": bytes.fromhex(expected)}
        return compare.difference(bytes.fromhex(found), tensor, ulp, abs) is None

    def test_bits(self):
        self.assertTrue(self.equal("s16", "0100", "0100"))
        self.assertFalse(self.equal("s16", "0100", "0200", ulp=1, abs=1.0))
        self.assertFalse(self.equal("f32", "00000080", "00000000"))
        self.assertFalse(self.equal("f32", "00000000", "0000000000000000"))

    def test_any_nan_equals_any_nan_and_nothing_else(self):
        pairs = {"f8": "7fff", "f8_e4m3fn": "7fff", "f16": "01fc007e", "bf16": "817fc0ff"}
        pairs.update({"f32": "010080ff0000c07f", "c64": "010080ff0000c07f"})
        for dtype, data in pairs.items():
            nans = data[: len(data) // 2], data[len(data) // 2 :]
            self.assertTrue(self.equal(dtype, *nans), dtype)
            zero = "00" * (len(data) // 4)
            self.assertFalse(self.equal(dtype, nans[0], zero, ulp=2**62, abs=1e300), dtype)
        self.assertFalse(self.equal("f32", "0000807f", "0000c07f", ulp=2**30), "an infinity")

    def test_units_in_the_last_place(self):
        self.assertTrue(self.equal("f32", "0000803f", "0200803f", ulp=2))
        self.assertFalse(self.equal("f32", "0000803f", "0300803f", ulp=2))
        self.assertTrue(self.equal("f16", "0180", "0100", ulp=2), "around zero")
        self.assertFalse(self.equal("f16", "0180", "0100", ulp=1))
        self.assertTrue(self.equal("f64", "00" * 8, "00" * 7 + "80", ulp=1))
        self.assertFalse(self.equal("f64", "ff" * 6 + "ef7f", "ff" * 6 + "efff", ulp=2**40))

    def test_absolute_differences(self):
        # 1.0 and the next number of each dtype.
        for dtype, one, next, abs in (
            ("f8", "3c", "3d", 0.25),
            ("f8_e4m3fn", "38", "39", 0.125),
            ("bf16", "803f", "813f", 2**-7),
            ("c128", "000000000000f03f" + "00" * 8, "010000000000f03f" + "00" * 8, 2**-52),
        ):
            self.assertTrue(self.equal(dtype, one, next, abs=abs), dtype)
            self.assertFalse(self.equal(dtype, one, next, abs=abs * 0.99), dtype)


class Frame:
    """A file of protocol/golden/frames."""

    def __init__(self, path):
        self.name = path.stem
        self.fields = {}
        digits = ""
        for line in path.read_text().splitlines():
            if line.startswith("#"):
                key, colon, text = line[1:].partition(":")
                self.fields[key.strip()] = text.strip() if colon else None
            else:
                digits += line
        self.bytes = bytes.fromhex(digits)

    def value(self):
        return json.loads(self.fields["value"], object_hook=binary)


def binary(found):
    return bytes.fromhex(found["$hex"]) if found.keys() == {"$hex"} else found


def frames(folder):
    return [Frame(path) for path in sorted((FRAMES / folder).glob("*.hex"))]


def requests():
    answers = ("reply", "event", "monitored")
    return [each for each in frames("good") if each.fields["kind"] not in answers]


class FakeStream:
    """A stream that keeps what the client writes, and answers with given bytes."""

    def __init__(self, answer):
        self.answer, self.written = answer, b""

    def read(self, size):
        data, self.answer = self.answer[:size], self.answer[size:]
        return data

    def write(self, data):
        self.written += data

    def close(self):
        pass


def fake_client(answer=b""):
    [hello] = [each for each in frames("good") if each.name == "reply_hello"]
    return client.Client(FakeStream(hello.bytes + answer))


class GoodFrames(unittest.TestCase):
    """The client encodes and decodes what the golden frames show."""

    def test_requests(self):
        for each in requests():
            with self.subTest(each.name):
                value = each.value()
                mine = fake_client()
                mine._stream.written = b""
                keys = {key: value[key] for key in value if key not in ("id", "do")}
                id = mine.send(value["do"], **keys)
                written = mine._stream.written
                self.assertEqual(written, wire.frame({**value, "id": id}))
                self.assertEqual(msgpack.unpackb(each.bytes[4:]), value)

    def test_replies(self):
        replies = [each for each in frames("good") if each.fields["kind"] == "reply"]
        self.assertTrue(replies)
        for each in replies:
            with self.subTest(each.name):
                value = each.value()
                mine = fake_client(each.bytes)
                mine._pending[value["id"]] = 0
                if value["status"] == "ok":
                    self.assertEqual(mine.wait(value["id"]), value)
                    continue
                with self.assertRaises(client.Error) as caught:
                    mine.wait(value["id"])
                error = caught.exception if value["id"] else caught.exception.reason
                self.assertIs(type(error), client.CLASSES[value["error"]["code"]])
                for key in ("code", "text", "op", "index", "written", "at"):
                    self.assertEqual(getattr(error, key), value["error"].get(key))


# The examples of requests make one session in this order, with these answers.
SESSION = {
    "auth": "ok",
    "hello": "ok",
    "ping": "ok",
    "ping_largest_id": "ok",
    "info": "ok",
    "upload": "ok",
    "info_handle": "ok",
    "download": "ok",
    "upload_chunk": "ok",
    "upload_empty": "ok",
    "upload_packed": "ok",
    "run": "ok",
    "run_atomic": "bad_shape",  # the condition of its `while` is no scalar
    "run_attrs": "bad_attr",  # no op has all these attributes
    "run_complex": "ok",
    "prepare": "ok",
    "call": "ok",
    "call_deadline": "deadline_exceeded",
    "call_deadline_largest": "ok",
    "call_profile": "ok",
    "upload_program": "ok",
    "prepare_handle": "ok",
    "define_kernel": "ok",
    "define_kernel_calls": "ok",
    "run_kernel": "bad_dtype",  # the operand is s32[2][2], not f64[n]
    "run_kernel_in_place": "bad_shape",
    "forget_kernel": "ok",
    "cancel": "ok",
    "forget": "ok",
    "publish": "ok",
    "publish_expect": "version_conflict",
    "open": "ok",
    "open_live": "ok",
    "open_version": "version_conflict",
    "names": "ok",
    "names_page": "ok",
    "unpublish_expect": "version_conflict",
    "unpublish": "ok",
    "subscribe": "ok",
    "subscribe_prefix": "ok",
    "unsubscribe": "ok",
    "checkpoint": "bad_request",
    "cancel_session": "ok",
    "sessions": "ok",
    "sessions_page": "ok",
    "stats": "ok",
    "slowlog": "ok",
    "slowlog_limit": "ok",
    "monitor": "ok",
    "monitor_end": "ok",
    "kick": "ok",
    "release": "ok",
    "bye": "ok",
}
# These use files of the daemon's machine.
NOT_SENT = {"load", "load_member", "load_raw", "load_csv", "load_csv_short", "save", "save_npz"}


@daemon.over_each(*daemon.TRANSPORTS)
class FramesToDaemon:
    def open(self):
        stream = daemons.stream(self.transport)
        self.addCleanup(stream.close)
        return stream

    def test_good_requests(self):
        examples = {each.name: each for each in requests()}
        self.assertEqual(examples.keys(), SESSION.keys() | NOT_SENT)
        stream = self.open()
        for name, code in SESSION.items():
            value = examples[name].value()
            # Two of the examples are last chunks.
            if value.get("offset") and value["do"] == "upload":
                first = program_of(examples["prepare"]) if name == "upload_program" else bytes(8)
                first = {**value, "offset": 0, "data": first[: value["offset"]]}
                self.assertEqual(wire.ask(stream, first)["results"], [])
            stream.write(examples[name].bytes)
            reply = wire.read_reply(stream)
            self.assertEqual((name, reply["id"]), (name, value["id"]))
            self.assertEqual((name, wire.code_of(reply)), (name, code))
        self.assertIsNone(wire.read_reply(stream))

    def test_bad_frames(self):
        for each in frames("bad"):
            with self.subTest(each.name):
                stream = self.open()
                self.assertEqual(wire.code_of(wire.ask(stream, wire.HELLO)), "ok")
                stream.write(each.bytes)
                reply = wire.read_reply(stream)
                code = wire.code_of(reply)
                self.assertEqual(code, each.fields["code"])
                if code == "bad_frame":
                    self.assertEqual(reply["id"], 0)
                    self.assertIsNone(wire.read_reply(stream))
                else:
                    self.assertEqual(reply["id"], 5)
                    ping = wire.ask(stream, {"id": 6, "do": "ping"})
                    self.assertEqual(wire.code_of(ping), "ok")


def program_of(example):
    return msgpack.packb(example.value()["program"])
