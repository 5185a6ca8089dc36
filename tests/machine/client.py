"""Agents who sign in, poll and download, and compare every byte that they get.

They run on the host and not in a machine, so that a fault of a machine does not slow them down.
"""

import json
import random
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

BASE = "/agentgateway/resource"
# Seconds. Longest wait for an answer that is not a download's.
ANSWER_TIMEOUT = 60
# Seconds for which a download may stand still.
STALL_TIMEOUT = 240


def content(name: str, size: int) -> bytes:
    """The bytes of a video. MAKE_VIDEO makes the same bytes in the machines."""
    return random.Random(name).randbytes(size)


class NoAnswer(Exception):
    """The connection ended, or was refused, before an answer was there."""


class Connection:
    """One TLS connection. An end without close_notify is an error."""

    def __init__(self, port: int, certificate: str, timeout: float = ANSWER_TIMEOUT):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=certificate)
        # The certificate names the machine, and not the forwarded port of the host.
        context.check_hostname = False
        plain = socket.socket()
        try:
            plain.settimeout(timeout)
            plain.connect(("127.0.0.1", port))
            self.socket = context.wrap_socket(plain, suppress_ragged_eofs=False)
        except OSError as error:
            plain.close()
            raise NoAnswer(str(error)) from None
        self.rest = b""

    def close(self) -> None:
        self.socket.close()

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, str]]:
        """Sends a request. Returns the status and the headers of the answer, with names in lower case."""
        lines = [f"{method} {BASE}{path} HTTP/1.1", "Host: gateway", *(f"{name}: {value}" for name, value in headers.items())]
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        try:
            self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            while b"\r\n\r\n" not in self.rest:
                more = self.socket.recv(65536)
                if not more:
                    raise NoAnswer("an orderly end")
                self.rest += more
        except OSError as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        status, *fields = head.decode("latin-1").split("\r\n")
        named = (field.partition(":") for field in fields)
        return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in named}

    def receive(self, limit: int) -> bytes:
        """Some bytes of a body; empty after close_notify."""
        if self.rest:
            some, self.rest = self.rest[:limit], self.rest[limit:]
            return some
        return self.socket.recv(limit)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, str], dict]:
        """A request with a short answer in JSON."""
        status, fields = self.ask(method, path, headers, body)
        text = b""
        try:
            while len(text) < int(fields.get("content-length", 0)):
                more = self.receive(65536)
                if not more:
                    raise NoAnswer("an orderly end within an answer")
                text += more
        except OSError as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        return status, fields, json.loads(text)


class Agent:
    """An agent with a connection of its own, and the Guid of its session."""

    def __init__(self, port: int, certificate: str, number: int, password: str):
        self.port, self.certificate, self.number, self.password = port, certificate, number, password
        self.guid = ""
        self.connection: Connection | None = None

    def request(self, method: str, path: str, body: bytes = b"") -> dict:
        """The answer of the gateway. Connects first if there is no connection."""
        if self.connection is None:
            self.connection = Connection(self.port, self.certificate)
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        if self.guid:
            headers["Guid"] = self.guid
        try:
            _, fields, answer = self.connection.answer(method, path, headers, body)
        except NoAnswer:
            self.hang_up()
            raise
        if fields.get("connection", "").lower() == "close":
            # For example after the last request that the gateway accepts on a connection.
            self.hang_up()
        if "set-guid" in fields:
            self.guid = fields["set-guid"].removeprefix("JSESSIONID=")
        return answer

    def sign_in(self, tries: int = 1) -> str:
        """The result code. An emulated machine may take too long to check a password (000-007), hence the tries."""
        self.guid = ""
        body = json.dumps({"password": self.password, "phonenum": "40038"}).encode()
        code = self.request("PUT", f"/onlineagent/{self.number}/forcelogin", body)["retcode"]
        return self.sign_in(tries - 1) if code == "000-007" and tries > 1 else code

    def poll(self) -> dict:
        return self.request("GET", f"/agentevent/{self.number}")

    def sign_out(self) -> str:
        return self.request("DELETE", f"/onlineagent/{self.number}/logout")["retcode"]

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


@dataclass
class Download:
    """A download on a thread of its own, through `port` if that is another than the agent's.

    `versions` are the contents that the recording may have. The bytes received are compared with each of them.
    """

    agent: Agent
    record: str
    versions: list[bytes]
    port: int = 0
    timeout: float = STALL_TIMEOUT
    # The result. `end` is one of complete, cut, short (close_notify too early), refused, no answer, no end (a timeout).
    end: str = ""
    code: str = ""
    announced: int = 0
    received: int = 0
    answered_after: float = 0
    longest_stall: float = 0
    error: str = ""
    matching: list[int] = field(default_factory=list)

    def start(self) -> "Download":
        self.thread = threading.Thread(target=self.carry_out, daemon=True)
        self.thread.start()
        return self

    def wait(self, timeout: float = 600) -> "Download":
        self.thread.join(timeout)
        if self.thread.is_alive():
            self.end = self.end or "no end"
        return self

    @property
    def is_wrong(self) -> bool:
        """Whether what came is not the beginning of any version, or looks complete but is not a whole version."""
        if self.end in ("refused", "no answer"):
            return False
        complete = any(len(self.versions[index]) == self.received for index in self.matching)
        return not self.matching or self.end == "short" or (self.end == "complete" and not complete)

    def carry_out(self) -> None:
        connection = None
        begun = time.monotonic()
        try:
            connection = Connection(self.port or self.agent.port, self.agent.certificate, self.timeout)
            path = f"/recordfile/{self.agent.number}/videofiledownloadEx?recordId={self.record}"
            status, fields = connection.ask("GET", path, {"Guid": self.agent.guid})
            self.answered_after = time.monotonic() - begun
            self.announced = int(fields["content-length"])
            if "json" in fields["content-type"]:
                self.code = json.loads(connection.receive(4096))["retcode"]
                self.end = "refused"
                return
            self.code = "0" if status == 200 else str(status)
            self.receive_all(connection)
        except NoAnswer as error:
            self.end, self.error = "no answer", str(error)
        except TimeoutError:
            self.end, self.error = "no end", f"nothing for {self.timeout:.0f} s"
        except OSError as error:
            self.end, self.error = "cut", str(error) or type(error).__name__
        finally:
            if connection is not None:
                connection.close()

    def receive_all(self, connection: Connection) -> None:
        self.matching = list(range(len(self.versions)))
        last = time.monotonic()
        while self.received < self.announced:
            some = connection.receive(16384)
            now = time.monotonic()
            self.longest_stall = max(self.longest_stall, now - last)
            if not some:
                self.end = "short"
                return
            at = self.received
            self.matching = [index for index in self.matching if self.versions[index][at : at + len(some)] == some]
            self.received += len(some)
            last = time.monotonic()
        self.end = "complete"

    def __str__(self) -> str:
        wrong = " with WRONG bytes" if self.is_wrong else ""
        if self.end == "refused":
            return f"{self.code} after {self.answered_after:.1f} s"
        if self.end in ("no answer", "no end"):
            return f"{self.end} ({self.error})"
        stood = f", stood still for {self.longest_stall:.0f} s" if self.longest_stall > 3 else ""
        if self.end == "complete":
            return f"complete{wrong}{stood}"
        return f"{self.end} at {self.received / 1e6:.1f} of {self.announced / 1e6:.1f} MB{wrong}{stood}"
