"""A client of outriggerd for Python, in one file: copy it, and change what you like.

It is written from protocol/PROTOCOL.md and protocol/SOCKETS.md alone; the comments name their
sections. It needs msgpack and NumPy (Debian: python3-msgpack, python3-numpy).

    with connect("tcp://127.0.0.1:7171", token="...") as client:
        x = client.upload(numpy.arange(6, dtype="float32"))
        twice = {"op": "multiply", "in": [0, {"number": 2}], "out": [1]}
        [y] = client.run({"params": [0], "body": [twice], "outputs": [1]}, [x])
        print(client.download(y))

`client.request(kind, **keys)` sends any request and waits for its reply. `client.send` only sends
it and returns its id, and `client.wait(id)` takes the reply: so that requests follow each other
without waiting. Only one thread at a time may use a client.
"""

import collections
import contextlib
import itertools
import socket
import ssl
import struct
import subprocess

import msgpack
import numpy

PROTOCOL = 1
NAME = "outrigger-python 0.1"

# These hold until the reply to `hello` tells the daemon's limits (section 9).
FIRST_LIMITS = {
    "frame_bytes_max": 4096,
    "requests_window": 2,
    "bytes_window": 2 * 4096,
    "reply_bytes_max": 32 << 20,
}
# A frame with a chunk of data has so many bytes at most beside the data.
CHUNK_OVERHEAD_BYTES = 1024
# A result of `run` or `call` counts as this many bytes in the window (section 2, Flow).
RESULT_BYTES = 192

# NumPy has no f8, f8_e4m3fn and bf16, and no integers below 8 bits: those travel as bytes.
NUMPY_OF = {
    **{f"u{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)},
    **{f"s{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)},
    **{f"f{8 * n}": f"<f{n}" for n in (2, 4, 8)},
    **{f"c{8 * n}": f"<c{n}" for n in (8, 16)},
}
DTYPE_OF = {numpy.dtype(ours): name for name, ours in NUMPY_OF.items()}
DTYPE_OF[numpy.dtype(bool)] = "u8"

Tensor = collections.namedtuple("Tensor", "handle dtype shape")
Program = collections.namedtuple("Program", "id results")


def connect(address, token=None, ca_file=None, certificate=None, timeout=10):
    """A client of the daemon at `unix:PATH`, `tcp://HOST:PORT` or `tls://HOST:PORT`.

    ca_file: certificates (PEM) one of which has signed the server's; None: those of the system.
    certificate: this client's own, as a pair of files (chain, key), if the server wants one.
    timeout: seconds for the connection and its beginning; afterwards there is no limit.
    """
    try:
        stream = SocketStream(open_socket(address, ca_file, certificate, timeout))
    except OSError as error:
        raise ConnectionEnded(f"no connection to {address}: {error}") from error
    client = Client(stream, token)
    stream.socket.settimeout(None)
    return client


def start(path="outriggerd", *options):
    """A client of a daemon that is started as a child and ends with the client."""
    return Client(ChildStream([path, *options]))


def literal(number):
    """A number of no fixed dtype, as an operand or an argument (section 5)."""
    return {"number": wire_number(number)}


def wire_number(number):
    """A Python number as section 3 wants it: infinities and NaN are words, complex ones maps."""
    if isinstance(number, complex):
        return {"re": wire_number(number.real), "im": wire_number(number.imag)}
    if isinstance(number, float):
        if number != number:
            return "nan"
        if number in (float("inf"), float("-inf")):
            return "infinity" if number > 0 else "neg_infinity"
    return number


def handle_of(tensor):
    return tensor.handle if isinstance(tensor, Tensor) else tensor


class Error(Exception):
    """All exceptions that come from the daemon or from the connection to it."""


class ConnectionEnded(Error):
    """There is no connection any more.

    reason: the RequestError that the daemon's last frame tells, or None.
    It is unknown whether the daemon carried out requests without a reply (section 9).
    """

    def __init__(self, text, reason=None):
        super().__init__(text)
        self.reason = reason


class RequestError(Error):
    """A reply whose status is not `ok` (section 2). A code of section 7 has a class of its own."""

    def __init__(self, error):
        self.code = error["code"]
        self.text = error["text"]
        self.op = error.get("op")
        self.index = error.get("index")
        self.written = error["written"]
        self.at = error.get("at")
        self.cause = error_of(error["cause"]) if "cause" in error else None
        super().__init__(f"{self.text} [{self.code}]")


CLASSES = {}


def error_of(error):
    """The exception for an error map. A code that this client does not know is a RequestError."""
    return CLASSES.get(error["code"], RequestError)(error)


def _class_for(code):
    name = "".join(word.capitalize() for word in code.split("_"))
    CLASSES[code] = type(name, (RequestError,), {"__module__": __name__})
    return CLASSES[code]


BadFrame = _class_for("bad_frame")
BadRequest = _class_for("bad_request")
BadProgram = _class_for("bad_program")
UnknownOp = _class_for("unknown_op")
UnknownProgram = _class_for("unknown_program")
BadKernel = _class_for("bad_kernel")
UnknownKernel = _class_for("unknown_kernel")
Raised = _class_for("raised")
BadAttr = _class_for("bad_attr")
BadDtype = _class_for("bad_dtype")
BadShape = _class_for("bad_shape")
BadAxis = _class_for("bad_axis")
BadIndex = _class_for("bad_index")
BadValue = _class_for("bad_value")
BadHandle = _class_for("bad_handle")
HandleInUse = _class_for("handle_in_use")
FailedOperand = _class_for("failed_operand")
OutOfMemory = _class_for("out_of_memory")
LimitExceeded = _class_for("limit_exceeded")
UnknownName = _class_for("unknown_name")
VersionConflict = _class_for("version_conflict")
BadFile = _class_for("bad_file")
IoError = _class_for("io_error")
Cancelled = _class_for("cancelled")
DeadlineExceeded = _class_for("deadline_exceeded")
Unauthorized = _class_for("unauthorized")
QuotaExceeded = _class_for("quota_exceeded")
Forbidden = _class_for("forbidden")
TooManyClients = _class_for("too_many_clients")
Timeout = _class_for("timeout")
ShuttingDown = _class_for("shutting_down")
Internal = _class_for("internal")


class Client:
    """A session of a daemon, over a stream with `read(size)`, `write(bytes)` and `close()`."""

    def __init__(self, stream, token=None):
        self._stream = stream
        self._ids = itertools.count(1)
        self._handles = itertools.count(1)
        self._program_ids = itertools.count(1)
        self._pending = {}  # id of a request without reply: what it counts in the window of bytes
        self._pending_bytes = 0
        self._replies = {}  # id: a reply that was not taken yet
        self._ended = None  # the text and the reason of ConnectionEnded, once it has ended
        self.limits = FIRST_LIMITS
        self.rights = None
        try:
            if token is not None:
                self.rights = self.request("auth", token=token)["rights"]
            self.hello = self.request("hello", protocol=PROTOCOL, client=NAME)
        except BaseException:
            self.close()
            raise
        self.limits = self.hello["limits"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the session at once: the daemon cancels its requests and frees its tensors."""
        self._ended = self._ended or ("the client was closed", None)
        self._stream.close()

    def bye(self):
        self.request("bye")
        self.close()

    # Requests and replies (sections 1 and 2)

    def request(self, kind, **keys):
        """The reply to a request, which has the kind `kind`; an error reply is an exception."""
        return self.wait(self.send(kind, **keys))

    def send(self, kind, **keys):
        """Sends a request and returns its id. Keys whose value is None are left out."""
        id = next(self._ids)
        keys = {key: value for key, value in keys.items() if value is not None}
        body = msgpack.packb({"id": id, "do": kind, **keys}, use_bin_type=True)
        if len(body) > self.limits["frame_bytes_max"]:
            raise ValueError(f"{kind}: {len(body)} bytes do not fit into a frame")
        count = len(body) + (keys["length"] if kind == "download" else 0)
        count += RESULT_BYTES * len(keys["results"]) if kind in ("run", "call") else 0
        self._wait_for_room(count)
        self._pending[id] = count
        self._pending_bytes += count
        self._write(body)
        return id

    def wait(self, id):
        """The reply to the request `id`. Each reply can be taken once."""
        while id not in self._replies:
            if id not in self._pending and not self._ended:
                raise ValueError(f"no request {id} waits for its reply")
            self._read_reply()
        reply = self._replies.pop(id)
        if reply["status"] != "ok":
            raise error_of(reply["error"])
        return reply

    def _wait_for_room(self, count):
        """Takes replies until a request that counts `count` bytes fits into the windows."""
        while self._pending and (
            len(self._pending) >= self.limits["requests_window"]
            or self._pending_bytes + count > self.limits["bytes_window"]
        ):
            self._read_reply()

    def _write(self, body):
        if self._ended:
            raise ConnectionEnded(*self._ended)
        try:
            self._stream.write(struct.pack(">I", len(body)) + body)
        except OSError:
            # The daemon has closed. Its last frame tells why, and can still be read.
            while True:
                self._read_reply()

    def _read_reply(self):
        if self._ended:
            raise ConnectionEnded(*self._ended)
        try:
            [length] = struct.unpack(">I", self._stream.read(4))
            if length > self.limits["reply_bytes_max"]:
                raise ValueError(f"a reply of {length} bytes")
            reply = msgpack.unpackb(self._stream.read(length))
        except (OSError, EOFError, ValueError) as error:
            self._ended = (f"the connection ended: {error}", None)
            raise ConnectionEnded(*self._ended) from error
        if reply["id"] == 0:
            reason = error_of(reply["error"])
            self._ended = (f"the daemon ended the connection: {reason}", reason)
            raise ConnectionEnded(*self._ended)
        self._pending_bytes -= self._pending.pop(reply["id"])
        self._replies[reply["id"]] = reply

    # Kinds of request (section 4)

    def ping(self):
        self.request("ping")

    def info(self, tensor=None):
        return self.request("info", handle=handle_of(tensor))

    def new_handle(self):
        return next(self._handles)

    def upload(self, array):
        """A tensor with the contents of a NumPy array."""
        array = numpy.asarray(array)
        dtype = DTYPE_OF.get(array.dtype.newbyteorder("<"))
        if not dtype:
            raise TypeError(f"the daemon has no dtype for NumPy's {array.dtype}")
        return self.upload_bytes(dtype, array.shape, array.astype(NUMPY_OF[dtype]).tobytes())

    def upload_bytes(self, dtype, shape, data):
        """A tensor from the bytes of its elements, as section 3 has them."""
        handle, data = self.new_handle(), memoryview(data)
        step = self.limits["frame_bytes_max"] - CHUNK_OVERHEAD_BYTES
        keys = {"handle": handle, "dtype": dtype, "shape": list(shape)}
        # A tensor without elements takes one chunk, too.
        ids = [
            self.send("upload", **keys, offset=offset, data=data[offset : offset + step])
            for offset in range(0, max(len(data), 1), step)
        ]
        replies = self._wait_for_all(ids)
        [tensor] = self._tensors(replies[-1])
        return tensor

    def download(self, tensor):
        """A tensor's contents as a NumPy array."""
        data = self.download_bytes(tensor)
        return numpy.frombuffer(data, NUMPY_OF[tensor.dtype]).reshape(tensor.shape)

    def download_bytes(self, tensor):
        """The bytes of a tensor's elements, as section 3 has them."""
        size = self.info(tensor)["bytes"]
        step = self.limits["frame_bytes_max"] - CHUNK_OVERHEAD_BYTES
        handle = handle_of(tensor)
        ids = [
            self.send("download", handle=handle, offset=offset, length=min(step, size - offset))
            for offset in range(0, size, step)
        ]
        return b"".join(reply["data"] for reply in self._wait_for_all(ids))

    def load(self, path, member=None):
        handle = self.new_handle()
        [tensor] = self._tensors(self.request("load", handle=handle, path=path, member=member))
        return tensor

    def save(self, tensor, path):
        self.request("save", handle=handle_of(tensor), path=path)

    def run(self, program, args=(), **options):
        """The results of a program that is carried out once, as tensors.

        args: tensors and literals. options: the optional keys of `run`.
        """
        keys = self._run_keys(len(program["outputs"]), args, options)
        return self._tensors(self.request("run", program=program, **keys))

    def prepare(self, program):
        """A program that the daemon keeps for `call`. It may be longer than a frame."""
        id = next(self._program_ids)
        data = msgpack.packb(program, use_bin_type=True)
        if len(data) <= self.limits["frame_bytes_max"] - CHUNK_OVERHEAD_BYTES:
            self.request("prepare", program_id=id, program=program)
        else:
            tensor = self.upload_bytes("u8", [len(data)], data)
            try:
                self.request("prepare", program_id=id, handle=tensor.handle)
            finally:
                self.release(tensor)
        return Program(id, len(program["outputs"]))

    def call(self, program, args=(), **options):
        """As `run`, of a prepared program."""
        keys = self._run_keys(program.results, args, options)
        return self._tensors(self.request("call", program_id=program.id, **keys))

    def forget(self, program):
        self.request("forget", program_id=program.id)

    def release(self, *tensors):
        """Frees tensors; returns how many of them there were."""
        handles = [handle_of(tensor) for tensor in tensors]
        return self.request("release", handles=handles)["released"]

    def cancel(self, id):
        """Cancels a request that was sent. Returns whether it was still pending."""
        return self.request("cancel", request=id)["found"]

    def _run_keys(self, results, args, options):
        new = [self.new_handle() for _ in range(results)]
        donated = options.get("donated")
        if donated is not None:
            options = {**options, "donated": [handle_of(tensor) for tensor in donated]}
        return {"args": [handle_of(arg) for arg in args], "results": new, **options}

    def _wait_for_all(self, ids):
        """The replies to all requests, or the first error, with no reply left behind."""
        replies, failure = [], None
        for id in ids:
            try:
                replies.append(self.wait(id))
            except Exception as error:
                failure = failure or error
        if failure:
            raise failure
        return replies

    @staticmethod
    def _tensors(reply):
        return [Tensor(r["handle"], r["dtype"], tuple(r["shape"])) for r in reply["results"]]


def open_socket(address, ca_file, certificate, timeout):
    if address.startswith("unix:"):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(timeout)
        opened.connect(address.removeprefix("unix:"))
        return opened
    scheme, separator, place = address.partition("://")
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if scheme not in ("tcp", "tls") or not separator or not colon:
        raise ValueError(f"{address} is no address unix:PATH, tcp://HOST:PORT or tls://HOST:PORT")
    opened = socket.create_connection((host, int(port)), timeout)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    if scheme == "tcp":
        return opened
    # The context checks the server's certificate, and that it names the host.
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if certificate:
        context.load_cert_chain(*certificate)
    try:
        return context.wrap_socket(opened, server_hostname=host, suppress_ragged_eofs=False)
    except OSError:
        opened.close()
        raise


class SocketStream:
    def __init__(self, opened):
        self.socket = opened
        self._reader = opened.makefile("rb")

    def read(self, size):
        return read_exactly(self._reader, size)

    def write(self, data):
        self.socket.sendall(data)

    def close(self):
        self._reader.close()
        self.socket.close()


class ChildStream:
    """The pipes of a child process (section 8). Its log goes to our standard error."""

    def __init__(self, command):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, size):
        return read_exactly(self.child.stdout, size)

    def write(self, data):
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def close(self):
        """Closes the daemon's standard input, which ends it, and waits for its end."""
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()


def read_exactly(reader, size):
    data = reader.read(size)
    if len(data) < size:
        raise EOFError("end of stream")
    return data
