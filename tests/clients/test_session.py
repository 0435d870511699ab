"""One session, from an outsider's view: what PROTOCOL.md says of requests, over each transport."""

import pathlib
import tempfile
import unittest

import msgpack
import numpy

import client
import daemon
from client import literal


def setUpModule():
    global daemons
    daemons = daemon.Daemons()
    unittest.addModuleCleanup(daemons.stop)


def instruction(op, operands, results, **keys):
    return {"op": op, "in": operands, "out": results, **keys}


def program(parameters, *body, outputs):
    return {"params": parameters, "body": list(body), "outputs": outputs}


ADD = program([0, 1], instruction("add", [0, 1], [2]), outputs=[2])
# Ends only when it is cancelled.
ENDLESS = program(
    [0],
    instruction(
        "while",
        [0],
        [1],
        regions=[
            program([2], instruction("less", [2, literal(0)], [3]), outputs=[3]),
            program([4], instruction("multiply", [4, literal(1)], [5]), outputs=[5]),
        ],
    ),
    outputs=[1],
)
# The second of the two in-place instructions fails.
HALF = program(
    [0, 1, 2],
    instruction("add", [0, literal(1)], [3], in_place=True),
    instruction("indexed_add", [3, 1, 2], [4], in_place=True),
    outputs=[],
)


@daemon.over_each(*daemon.TRANSPORTS)
class Session:
    def setUp(self):
        self.client = daemons.connect(self.transport)
        self.addCleanup(self.client.close)

    def number(self, value, dtype="float32"):
        return self.client.upload(numpy.array(value, dtype))

    # Data

    def test_arrays_come_back(self):
        grid = numpy.arange(24).reshape(2, 3, 4)
        arrays = [grid.astype(dtype) for dtype in client.DTYPE_OF if dtype != bool]
        arrays += [grid.T, grid[:, ::2], grid.astype(">f4"), numpy.zeros((3, 0)), numpy.array(7)]
        for array in arrays:
            tensor = self.client.upload(array)
            found = self.client.download(tensor)
            self.assertEqual(found.dtype, array.dtype.newbyteorder("<"))
            numpy.testing.assert_array_equal(found, array)
        tensor = self.client.upload(numpy.array([True, False]))
        self.assertEqual((tensor.dtype, self.client.download(tensor).tolist()), ("u8", [1, 0]))
        with self.assertRaises(TypeError):
            self.client.upload(numpy.array(["text"]))

    def test_packed_integers_and_small_floats_are_bytes(self):
        for dtype, data in (("u4", "1230"), ("s2", "1b"), ("bf16", "803f0040"), ("f8", "3c40")):
            size = {"u4": 3, "s2": 4}.get(dtype, 2)
            tensor = self.client.upload_bytes(dtype, [size], bytes.fromhex(data))
            self.assertEqual(self.client.download_bytes(tensor).hex(), data)

    def test_data_longer_than_the_windows(self):
        size = 2 * self.client.limits["bytes_window"] // 8 + 1
        array = numpy.random.default_rng(1).random(size)
        found = self.client.download(self.client.upload(array))
        self.assertTrue(numpy.array_equal(found, array))

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder, "a.npy"))
            self.client.save(self.number([1, 2.5]), path)
            numpy.testing.assert_array_equal(numpy.load(path), [1, 2.5])
            self.assertEqual(self.client.download(self.client.load(path)).tolist(), [1, 2.5])
            with self.assertRaises(client.IoError):
                self.client.load(path + ".gone")
        with self.assertRaises(client.BadFile):
            self.client.load("relative.npy")

    # Programs

    def test_a_prepared_program_takes_numbers_as_arguments(self):
        add = self.client.prepare(ADD)
        x = self.number([1, 2])
        for number, sums in ((1, [2, 3]), (0.5, [1.5, 2.5]), (float("inf"), [float("inf")] * 2)):
            [total] = self.client.call(add, [x, literal(number)])
            self.assertEqual(self.client.download(total).tolist(), sums)
        [total] = self.client.call(add, [x, literal(2 - 1j)])
        self.assertEqual(total.dtype, "c64")
        self.assertEqual(self.client.download(total).tolist(), [3 - 1j, 4 - 1j])
        self.client.forget(add)
        with self.assertRaises(client.UnknownProgram):
            self.client.call(add, [x, x])

    def test_literals_without_a_tensor_have_a_dtype(self):
        dtypes = {1: "s32", 2**31: "s64", -(2**63): "s64", 2**63: "u64", 1.5: "f32", 1j: "c64"}
        for number, dtype in dtypes.items():
            [tensor] = self.client.run(program([0], outputs=[0]), [literal(number)])
            self.assertEqual((number, tensor.dtype, tensor.shape), (number, dtype, ()))

    def test_a_program_longer_than_a_frame(self):
        count = self.client.limits["frame_bytes_max"] // 20
        body = [instruction("add", [i, 0], [i + 1]) for i in range(count)]
        long = program([0], *body, outputs=[count])
        self.assertGreater(len(msgpack.packb(long)), self.client.limits["frame_bytes_max"])
        with self.assertRaises(ValueError):
            self.client.run(long, [self.number(1)])
        [sum] = self.client.call(self.client.prepare(long), [self.number(1, "int32")])
        self.assertEqual(self.client.download(sum), count + 1)

    def test_in_place_and_atomic(self):
        x, one = self.number([1, 2]), self.number([1])
        outside = self.client.upload(numpy.array([[5]]))
        with self.assertRaises(client.BadIndex) as caught:
            self.client.run(HALF, [x, outside, one], atomic=True)
        self.assertEqual(caught.exception.written, [])
        self.assertEqual(self.client.download(x).tolist(), [1, 2])
        with self.assertRaises(client.BadIndex) as caught:
            self.client.run(HALF, [x, outside, one])
        error = caught.exception
        self.assertEqual((error.op, error.index, error.written), ("indexed_add", [1], [x.handle]))
        self.assertEqual(self.client.download(x).tolist(), [2, 3])

    def test_a_mutable_view_shares_its_elements(self):
        x, two = self.number([1, 2, 3]), {"lengths": [2]}
        slice = instruction("slice", [0, literal(1)], [1], attrs=two, in_place=True)
        [view] = self.client.run(program([0], slice, outputs=[1]), [x])
        add = instruction("add", [0, literal(5)], [1], in_place=True)
        self.client.run(program([0], add, outputs=[]), [view])
        self.assertEqual(self.client.download(x).tolist(), [1, 7, 8])

    def test_codes_of_what_cannot_be_done_in_place(self):
        x, y = self.number([1, 2]), self.number([[1, 2]], "float64")
        for op, operands, error in (
            ("add", [0, 1], client.BadDtype),
            ("add", [0, literal(1j)], client.BadDtype),
            ("sum", [0], client.BadProgram),
            ("add", [literal(1), 0], client.BadProgram),
        ):
            with self.assertRaises(error):
                body = instruction(op, operands, [2], in_place=True)
                self.client.run(program([0, 1], body, outputs=[2]), [x, y])
        with self.assertRaises(client.BadShape):
            body = instruction("add", [0, 1], [2], in_place=True)
            self.client.run(program([0, 1], body, outputs=[2]), [x, self.number([[1, 2]])])

    def test_donated_arguments_are_released(self):
        x = self.number([1, 2])
        [y] = self.client.run(ADD, [x, literal(1)], donated=[x])
        self.assertEqual(self.client.download(y).tolist(), [2, 3])
        with self.assertRaises(client.BadHandle):
            self.client.download(x)

    # Errors

    def test_an_error_says_where(self):
        x, y = self.number([1, 2]), self.number([1, 2, 3])
        with self.assertRaises(client.BadShape) as caught:
            self.client.run(ADD, [x, y])
        error = caught.exception
        self.assertEqual((error.op, error.index, error.written), ("add", [0], []))
        self.assertEqual((error.code, error.cause), ("bad_shape", None))
        self.client.ping()

    def test_a_failed_handle_tells_the_first_error(self):
        """A chain is sent without waiting; its last request names the mistake of the first."""
        x, [a, b] = self.number([1, 2]), (self.client.new_handle() for _ in range(2))
        bad = program([0], instruction("reshape", [0], [1], attrs={"shape": [3]}), outputs=[1])
        good = program([0], instruction("negate", [0], [1]), outputs=[1])
        first = self.client.send("run", program=bad, args=[x.handle], results=[a])
        second = self.client.send("run", program=good, args=[a], results=[b])
        with self.assertRaises(client.FailedOperand) as caught:
            self.client.download(b)
        self.assertIsInstance(caught.exception.cause, client.BadShape)
        for id, error in ((first, client.BadShape), (second, client.FailedOperand)):
            with self.assertRaises(error):
                self.client.wait(id)
        self.assertEqual(self.client.release(a, b), 2)

    def test_codes_of_bad_uploads(self):
        def upload(handle, **changed):
            keys = {"dtype": "f32", "shape": [2], "offset": 0, "data": bytes(4), **changed}
            self.client.request("upload", handle=handle, **keys)

        for error, changed in (
            (client.BadIndex, {"offset": 2}),
            (client.BadIndex, {"offset": 5}),
            (client.BadIndex, {"offset": 4, "data": bytes(5)}),
            (client.BadRequest, {"offset": 4, "dtype": "s32"}),
            (client.BadRequest, {"offset": 4, "shape": [1, 2]}),
        ):
            handle = self.client.new_handle()
            upload(handle)
            with self.assertRaises(error):
                upload(handle, **changed)
            with self.assertRaises(client.HandleInUse):
                upload(handle)
        for error, changed in (
            (client.BadHandle, {"offset": 4}),
            (client.BadDtype, {"dtype": "f31"}),
            (client.BadShape, {"shape": [1] * 17}),
            (client.BadShape, {"shape": [0, 2**62, 2**62]}),
        ):
            with self.assertRaises(error):
                upload(self.client.new_handle(), **changed)

    def test_a_mistake_in_the_form_leaves_nothing(self):
        """Such a request is answered at once; all others make their new handles failed ones."""
        x = self.number([1])
        identity = program([0], outputs=[0])
        for error, left, keys in (
            (client.BadRequest, client.BadHandle, {"program": {**identity, "colour": 1}}),
            (client.BadRequest, client.BadHandle, {"program": identity, "atomic": 1}),
            (client.BadProgram, client.FailedOperand, {"program": {**identity, "outputs": [7]}}),
            (client.BadRequest, client.FailedOperand, {"program": identity, "donated": [10**6]}),
        ):
            handle = self.client.new_handle()
            with self.assertRaises(error):
                self.client.request("run", args=[x.handle], results=[handle], **keys)
            with self.assertRaises(left):
                self.client.info(handle)

    # Requests that wait and run

    def test_deadline(self):
        with self.assertRaises(client.DeadlineExceeded):
            self.client.run(ENDLESS, [self.number(-1)], deadline_ms=20)

    def test_cancel(self):
        x, result = self.number(-1), self.client.new_handle()
        id = self.client.send("run", program=ENDLESS, args=[x.handle], results=[result])
        # These are answered while the program runs.
        self.client.ping()
        while self.client.info()["running"] != id:
            pass
        self.assertTrue(self.client.cancel(id))
        with self.assertRaises(client.Cancelled):
            self.client.wait(id)
        self.assertFalse(self.client.cancel(id))

    def test_windows_of_requests_and_bytes(self):
        """Many requests without a single wait; the client itself keeps to the windows."""
        x = self.client.upload(numpy.zeros(2**17))
        ids = [self.client.send("ping") for _ in range(3 * self.client.limits["requests_window"])]
        keys = {"handle": x.handle, "offset": 0, "length": 2**20 - 1024}
        ids += [self.client.send("download", **keys) for _ in range(64)]
        results = [[self.client.new_handle() for _ in range(1000)] for _ in range(100)]
        many = program([0], outputs=[0] * 1000)
        for handles in results:
            ids.append(self.client.send("run", program=many, args=[x.handle], results=handles))
        self.assertLessEqual(len(self.client._pending), self.client.limits["requests_window"])
        for id in ids:
            self.assertEqual(self.client.wait(id)["status"], "ok")
        self.assertEqual(self.client.info()["tensors"], 1 + 100 * 1000)

    def test_the_end(self):
        self.client.bye()
        with self.assertRaises(client.ConnectionEnded):
            self.client.ping()
