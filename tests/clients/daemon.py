"""Daemons for the tests, and the ways to reach them."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

import client

PATH = os.environ.get("OUTRIGGERD", "outriggerd")
# Most tests end sessions in ways that the daemon logs.
CHILD = (PATH, "--log-level", "off")
TRANSPORTS = ("pipe", "unix", "tcp", "tls")
# Everything that a daemon of a test does takes a moment; a test that hangs fails after this time.
TIMEOUT_SECONDS = 60


def catalogue():
    """The daemon's ops, by name."""
    printed = subprocess.run([PATH, "--describe-ops"], check=True, capture_output=True).stdout
    return {op["name"]: op for op in json.loads(printed)["ops"]}


class Server:
    """A daemon that listens on one address of each transport.

    options: further options of outriggerd. `addresses` has the address of each transport.
    """

    def __init__(self, *options, environment=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="outrigger-"))
        self.certificates = Certificates(self.folder)
        self.socket = self.folder / "daemon.sock"
        asked = [f"unix:{self.socket}", "tcp://127.0.0.1:0", "tls://127.0.0.1:0"]
        command = [PATH, *(word for address in asked for word in ("--listen", address))]
        chain, key = self.certificates.server
        command += ["--tls-cert", chain, "--tls-key", key, "--files", "/", *options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        self.log = []
        self.addresses = {}
        for line in self.process.stderr:
            self.log.append(line)
            _, told, address = line.rstrip().partition("listening on ")
            if told:
                self.addresses[address.partition(":")[0]] = address
            if len(self.addresses) == len(asked):
                break
        else:
            self.stop()
            raise RuntimeError("the daemon did not start: " + "".join(self.log))
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def connect(self, transport, **options):
        options = {"timeout": TIMEOUT_SECONDS, "ca_file": self.certificates.authority, **options}
        return client.connect(self.addresses[transport], **options)

    def stream(self, transport):
        """A connection without any request."""
        address, authority = self.addresses[transport], self.certificates.authority
        return client.SocketStream(client.open_socket(address, authority, None, TIMEOUT_SECONDS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Tells the daemon to stop; returns its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(TIMEOUT_SECONDS)
        finally:
            self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)


class Certificates:
    """A certificate authority, a server's certificate for 127.0.0.1 and a client's: PEM files."""

    def __init__(self, folder):
        self._folder = folder
        self.authority, self._key = self._make("authority", "keyUsage=critical,keyCertSign")
        issuer = ["-CA", self.authority, "-CAkey", self._key]
        issuer += ["-addext", "basicConstraints=critical,CA:FALSE"]
        self.server = self._make("server", "subjectAltName=IP:127.0.0.1", *issuer)
        self.client = self._make("client", "keyUsage=critical,digitalSignature", *issuer)

    def _make(self, name, extension, *issuer):
        """The certificate and its key. Without an issuer it is its own."""
        chain, key = (str(self._folder / f"{name}.{suffix}") for suffix in ("pem", "key"))
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-out", chain, "-keyout", key, "-addext", extension, *issuer]
        subprocess.run(command, check=True, capture_output=True)
        return chain, key


class Daemons:
    """Sessions over each transport.

    Over a pipe each of them has a daemon of its own. The others share a server, which no test may
    end.
    """

    def __init__(self):
        self.server = Server()

    def connect(self, transport):
        return client.start(*CHILD) if transport == "pipe" else self.server.connect(transport)

    def stream(self, transport):
        """A connection without any request yet."""
        return client.ChildStream(CHILD) if transport == "pipe" else self.server.stream(transport)

    def stop(self):
        status = self.server.stop()
        assert status == 0, f"the server ended with {status}: {''.join(self.server.log)}"


def over_each(*transports):
    """A decorator: for each transport a test case of the class; `transport` has its name."""

    def make(cls):
        module = sys.modules[cls.__module__]
        for transport in transports:
            name = f"{cls.__name__}_{transport}"
            case = type(name, (cls, unittest.TestCase), {"transport": transport})
            case.__module__ = cls.__module__
            setattr(module, name, case)
        return cls

    return make
