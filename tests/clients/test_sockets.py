"""The rules of SOCKETS.md: tokens, rights, sessions of one daemon, and how a connection ends."""

import os
import signal
import socket
import ssl
import stat
import unittest

import numpy

import client
import daemon
import wire
from client import ConnectionEnded
from test_session import ENDLESS

SOCKETS = daemon.TRANSPORTS[1:]
ALL_RIGHTS = ["read", "write", "files", "publish", "admin"]
TOKENS = {
    "reader": ("read", "reads-but-writes-nothing"),
    "writer": ("write", "writes-but-reads-nothing"),
    "app": ("read,write", "reads-and-writes-no-files"),
    "ops": ("all", "may-do-everything-here"),
}
TOKEN = {name: token for name, (_, token) in TOKENS.items()}


def setUpModule():
    global server
    server = daemon.Server("--handshake-timeout", "30")
    unittest.addModuleCleanup(server.stop)


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lines = [f"{name} {rights} {token}" for name, (rights, token) in TOKENS.items()]
        cls.server = daemon.Server(environment={"OUTRIGGER_TOKENS": ";".join(lines)})
        cls.addClassCleanup(cls.server.stop)

    def connect(self, name, transport="unix"):
        opened = self.server.connect(transport, token=TOKEN[name])
        self.addCleanup(opened.close)
        return opened

    def test_a_token_gives_a_name_and_rights(self):
        for transport in SOCKETS:
            opened = self.connect("app", transport)
            self.assertEqual(opened.rights, ["read", "write"])
            about = opened.info()["connection"]
            self.assertEqual(about["transport"], transport)
            self.assertEqual((about["token"], about["rights"]), ("app", ["read", "write"]))
        self.assertEqual(self.connect("ops").rights, ALL_RIGHTS)

    def test_no_token_and_a_wrong_one(self):
        for transport in SOCKETS:
            for token in (None, "of-someone-else-here"):
                with self.subTest(transport=transport, token=token):
                    with self.assertRaises(client.Unauthorized):
                        self.server.connect(transport, token=token)

    def test_nothing_follows_a_refused_step(self):
        stream = self.server.stream("unix")
        self.addCleanup(stream.close)
        auth = {"id": 1, "do": "auth", "token": "of-someone-else-here"}
        hello, ping = {**wire.HELLO, "id": 2}, {"id": 3, "do": "ping"}
        stream.write(b"".join(map(wire.frame, (auth, hello, ping))))
        reply = wire.read_reply(stream)
        self.assertEqual((reply["id"], wire.code_of(reply)), (1, "unauthorized"))
        self.assertIsNone(wire.read_reply(stream))

    def test_a_request_beyond_the_rights_leaves_nothing(self):
        identity = {"params": [0], "body": [], "outputs": [0]}
        upload = {"dtype": "u8", "shape": [1], "offset": 0, "data": b"1"}
        path = {"path": "/nowhere/a.npy"}
        needs = {
            "read": {
                "download": {"handle": 1, "offset": 0, "length": 1},
                "open": {"handle": 7, "name": "nothing"},
                "names": {},
            },
            "write": {
                "upload": {"handle": 1, **upload},
                "run": {"program": identity, "args": [1], "results": [2]},
                "prepare": {"program_id": 1, "program": identity},
                "call": {"program_id": 1, "args": [1], "results": [3]},
                "forget": {"program_id": 1},
            },
            "publish": {
                "publish": {"handle": 1, "name": "x"},
                "unpublish": {"name": "x"},
            },
            "files": {
                "load": {"handle": 4, **path},
                "load_raw": {"handle": 5, **path, "dtype": "u8", "shape": [1]},
                "load_csv": {"handle": 6, **path, "dtype": "f32"},
                "save": {"handle": 1, **path},
                "save_npz": {"handles": [1], "names": ["a"], **path},
            },
        }
        for name, (rights, _) in TOKENS.items():
            mine = self.connect(name)
            for right, kinds in needs.items():
                for kind, keys in kinds.items():
                    try:
                        mine.request(kind, **keys)
                        code = "ok"
                    except client.RequestError as error:
                        code = error.code
                    allowed = rights == "all" or right in rights.split(",")
                    self.assertEqual((name, kind, code != "forbidden"), (name, kind, allowed))
            mine.ping()
            if name == "reader":
                for handle in (1, 2, 3, 4, 5, 6):
                    with self.assertRaises(client.BadHandle):
                        mine.info(handle)

    def test_rights_of_one_session_are_not_those_of_another(self):
        writer, reader = self.connect("writer"), self.connect("reader")
        tensor = writer.upload(numpy.zeros(3))
        with self.assertRaises(client.Forbidden):
            writer.download_bytes(tensor)
        with self.assertRaises(client.BadHandle):
            reader.download_bytes(tensor)


@daemon.over_each(*SOCKETS)
class Beginning:
    def stream(self):
        stream = server.stream(self.transport)
        self.addCleanup(stream.close)
        return stream

    def test_all_steps_in_one_write(self):
        stream = self.stream()
        auth = {"id": 1, "do": "auth", "token": "any"}
        upload = {"dtype": "u8", "shape": [10**6], "offset": 0, "data": bytes(10**6)}
        requests = [auth, {**wire.HELLO, "id": 2}, {"id": 3, "do": "upload", "handle": 1, **upload}]
        stream.write(b"".join(map(wire.frame, requests)))
        replies = [wire.read_reply(stream) for _ in requests]
        self.assertEqual([wire.code_of(reply) for reply in replies], ["ok"] * 3)
        self.assertEqual((replies[0]["name"], replies[0]["rights"]), ("", ALL_RIGHTS))

    def test_auth_and_hello_come_once(self):
        stream = self.stream()
        self.assertEqual(wire.code_of(wire.ask(stream, wire.HELLO)), "ok")
        auth = {"id": 2, "do": "auth", "token": "any"}
        for request in (auth, {**wire.HELLO, "id": 3}):
            self.assertEqual(wire.code_of(wire.ask(stream, request)), "bad_request")
        self.assertEqual(wire.code_of(wire.ask(stream, {"id": 4, "do": "ping"})), "ok")

    def test_a_hello_with_a_mistake_can_be_said_again(self):
        stream = self.stream()
        for mistake in ({"colour": 1}, {"client": None}):
            reply = wire.ask(stream, {**wire.HELLO, **mistake})
            self.assertEqual(wire.code_of(reply), "bad_request")
        self.assertEqual(wire.code_of(wire.ask(stream, wire.HELLO)), "ok")

    def test_first_requests_that_end_the_connection(self):
        for first, code in (
            ({"id": 1, "do": "ping"}, "bad_request"),
            ({**wire.HELLO, "protocol": 2}, "bad_request"),
            ({**wire.HELLO, "client": "x" * 4096}, "bad_frame"),
        ):
            stream = self.stream()
            reply = wire.ask(stream, first)
            self.assertEqual(wire.code_of(reply), code)
            self.assertEqual(reply["id"], 0 if code == "bad_frame" else 1)
            self.assertIsNone(wire.read_reply(stream))


@daemon.over_each(*SOCKETS)
class Sessions:
    def connect(self):
        opened = server.connect(self.transport)
        self.addCleanup(opened.close)
        return opened

    def test_two_sessions_share_the_epoch_and_nothing_else(self):
        one, two = self.connect(), self.connect()
        self.assertEqual(one.hello["epoch"], two.hello["epoch"])
        self.assertNotEqual(one.hello["session"], two.hello["session"])
        tensor = one.upload(numpy.zeros(3))
        with self.assertRaises(client.BadHandle):
            two.download_bytes(tensor)
        about = two.info()
        connection = about["connection"]
        self.assertEqual((about["tensors"], connection["session"]), (0, two.hello["session"]))
        self.assertGreaterEqual(connection["sessions"], 2)
        self.assertGreater(about["memory"]["used"], 0)

    def test_bye(self):
        opened = self.connect()
        opened.request("bye")
        with self.assertRaises(ConnectionEnded) as caught:
            opened.ping()
        self.assertIsNone(caught.exception.reason)


@daemon.over_each(*SOCKETS)
class Ends:
    """Each test has a server with options of its own."""

    def server(self, *options):
        started = daemon.Server(*options)
        self.addCleanup(started.stop)
        return started

    def reason(self, opened):
        """Why the daemon ends the connection: the code of its last frame."""
        with self.assertRaises(ConnectionEnded) as caught:
            while True:
                opened.request("ping")
        return caught.exception.reason.code

    def test_too_many_clients(self):
        server = self.server("--max-clients", "1")
        with server.connect(self.transport):
            with self.assertRaises(ConnectionEnded) as caught:
                server.connect(self.transport)
            self.assertIsInstance(caught.exception.reason, client.TooManyClients)

    def test_the_handshake_takes_too_long(self):
        stream = self.server("--handshake-timeout", "2").stream(self.transport)
        self.addCleanup(stream.close)
        reply = wire.read_reply(stream)
        self.assertEqual((reply["id"], wire.code_of(reply)), (0, "timeout"))
        self.assertIsNone(wire.read_reply(stream))

    def test_an_idle_session(self):
        opened = self.server("--idle-timeout", "0.2").connect(self.transport)
        self.addCleanup(opened.close)
        with self.assertRaises(ConnectionEnded) as caught:
            opened._read_reply()
        self.assertIsInstance(caught.exception.reason, client.Timeout)

    def test_the_server_stops(self):
        server = self.server()
        opened = server.connect(self.transport)
        self.addCleanup(opened.close)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.reason(opened), "shutting_down")
        self.assertEqual(server.process.wait(daemon.TIMEOUT_SECONDS), 0)
        with self.assertRaises(ConnectionEnded):
            server.connect(self.transport)


    def test_requests_of_a_server_that_stops(self):
        server = self.server("--grace", "600")
        opened = server.connect(self.transport)
        self.addCleanup(opened.close)
        x = opened.upload(numpy.array(-1, "float32"))
        keys = {"args": [x.handle], "results": [opened.new_handle()]}
        running = opened.send("run", program=ENDLESS, **keys)
        opened.ping()  # now the daemon has read the request before

        server.process.send_signal(signal.SIGTERM)
        with self.assertRaises(ConnectionEnded):
            while True:
                server.connect(self.transport).close()
        with self.assertRaises(client.ShuttingDown):
            opened.upload(numpy.zeros(1))
        opened.ping()
        server.process.send_signal(signal.SIGTERM)
        with self.assertRaises(client.Cancelled):
            opened.wait(running)
        self.assertEqual(self.reason(opened), "shutting_down")
        self.assertEqual(server.process.wait(daemon.TIMEOUT_SECONDS), 0)


class UnixSocket(unittest.TestCase):
    def test_its_file(self):
        started = daemon.Server()
        self.addCleanup(started.stop)
        self.assertEqual(stat.S_IMODE(os.stat(started.socket).st_mode), 0o600)
        started.process.send_signal(signal.SIGTERM)
        self.assertEqual(started.process.wait(daemon.TIMEOUT_SECONDS), 0)
        self.assertFalse(started.socket.exists())


class Tls(unittest.TestCase):
    def socket(self):
        host, _, port = server.addresses["tls"].removeprefix("tls://").rpartition(":")
        opened = socket.create_connection((host, int(port)), daemon.TIMEOUT_SECONDS)
        self.addCleanup(opened.close)
        return opened

    def test_a_server_that_is_not_certified_is_refused(self):
        with self.assertRaises(ConnectionEnded) as caught:
            server.connect("tls", ca_file=None)
        self.assertIsInstance(caught.exception.__cause__, ssl.SSLCertVerificationError)

    def test_earlier_versions_are_refused(self):
        context = ssl.create_default_context(cafile=server.certificates.authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises(OSError):
            context.wrap_socket(self.socket(), server_hostname="127.0.0.1")

    def test_hello_in_the_same_write_as_the_end_of_the_handshake(self):
        context = ssl.create_default_context(cafile=server.certificates.authority)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        wire_socket = self.socket()
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire_socket.sendall(outgoing.read())
                incoming.write(wire_socket.recv(65536))
        tls.write(wire.frame(wire.HELLO))
        wire_socket.sendall(outgoing.read())
        incoming.write(wire_socket.recv(65536))
        self.assertIn(b"epoch", tls.read())

    def test_a_client_certificate(self):
        certificates = server.certificates
        wanting = daemon.Server("--tls-client-ca", certificates.authority)
        self.addCleanup(wanting.stop)
        authority = wanting.certificates.authority
        wanting.connect("tls", certificate=certificates.client).close()
        for certificate in (None, wanting.certificates.client):
            with self.assertRaises(ConnectionEnded) as caught:
                wanting.connect("tls", ca_file=authority, certificate=certificate)
            self.assertIsNone(caught.exception.reason)
