"""The clients. Each is bounded in count and time, and connects only to this machine.

`load.py WHAT JSON` calls the function WHAT with these arguments and prints its result as JSON. Clients that use
Python's TLS run this way, because OpenSSL reads its settings at a program's start, and because a busy client must not
delay the process that measures time.
"""

import contextlib
import itertools
import json
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time

from delay import NEAR
from servers import RESOURCE, VIDEO_BYTES

# Timeout in seconds; reaching it is a failure.
PATIENCE = 20


def download(server, count, suite):
    """Downloads the video `count` times on one connection with curl, with this suite."""
    command = ["curl", "-sS", "--http1.1", "--cacert", str(server.stage.certificate), "--max-time", "120"]
    if suite.startswith("TLS_"):
        command += ["--tlsv1.3", "--tls13-ciphers", suite]
    else:
        command += ["--tlsv1.2", "--tls-max", "1.2", "--ciphers", suite]
    for header in server.headers:
        command += ["-H", header]
    command += ["-w", "%{http_code} %{size_download}\n"]
    command += ["-o", "/dev/null", server.url(server.video)] * count
    said = output_of(server, command)
    if said.split("\n")[:-1] != [f"200 {VIDEO_BYTES}"] * count:
        raise SystemExit(f"{server.name}: {said}")


def download_from_afar(server, namespace):
    """Downloads the video once from a namespace that `delay` made; returns MB per second."""
    command = ["ip", "netns", "exec", namespace, "curl", "-sS", "--http1.1", "--insecure", "--max-time", "120"]
    for header in server.headers:
        command += ["-H", header]
    command += ["-w", "%{http_code} %{size_download} %{speed_download}", "-o", "/dev/null"]
    said = output_of(server, [*command, f"https://{NEAR}:{server.port}{server.video}"])
    code, size, speed = said.split()
    if (code, size) != ("200", str(VIDEO_BYTES)):
        raise SystemExit(f"{server.name}: {said}")
    return float(speed) / 1e6


def requests(server, path, headers, seconds, connections=4):
    """Asks for something small with wrk for some seconds; returns how many requests were answered."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        command += ["-H", header]
    said = output_of(server, [*command, server.url(path)])
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{server.name}: {said}")
    return int(re.search(r"(\d+) requests in", said)[1])


def metrics(server):
    """The samples of a gateway's /metrics without their labels; those of several mounts count as one."""
    command = ["curl", "-sS", "--cacert", str(server.stage.certificate), "--max-time", str(PATIENCE)]
    samples = {}
    for line in output_of(server, [*command, server.url(f"{RESOURCE}/metrics")]).splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            name = name.split("{")[0]
            samples[name] = samples.get(name, 0) + float(value)
    return samples


def warm_up(server, seconds):
    """Sends requests of each kind, so that code that is compiled at run time is compiled before it is measured."""
    requests(server, server.small, [], seconds)
    in_other_process(server, "handshakes", path=server.small, count=100 * seconds, resume=False)
    download(server, seconds, "TLS_AES_256_GCM_SHA384")


def output_of(server, command):
    """Runs a client and returns its output. A client that fails ends the run, since its figures would be worthless."""
    done = subprocess.run(command, capture_output=True, text=True, env=server.stage.client_environment)
    if done.returncode != 0:
        state = "has ended" if server.process.poll() is not None else "is running"
        said = f"{done.stderr}{done.stdout}"
        raise SystemExit(f"{server.name} {state}; {command} fails: {said}\nlog: {server.log_tail()}")
    return done.stdout


def in_other_process(server, what, **arguments):
    """Calls the function `what` of this file in a process of its own, and returns its result."""
    return json.loads(output_of(server, command_of(server, what, arguments)))


@contextlib.contextmanager
def meanwhile(server, what, **arguments):
    """Calls the function `what` of this file in a process of its own; entered once it is ready."""
    command = command_of(server, what, arguments)
    other = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=server.stage.client_environment
    )
    try:
        if other.stdout.readline() != b"ready\n":
            raise SystemExit(f"{server.name}: {what} does not become ready")
        yield
        if other.poll() is not None:
            raise SystemExit(f"{server.name}: {what} ended too early")
    finally:
        # The client ends at the end of its input.
        other.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            other.wait(5)
        other.kill()
        other.wait()


class Agents:
    """Thousands of agents who poll, in a process of their own; programs/src/bin/agents.rs describes its output."""

    def __init__(self, program, server, agents, wait_ms):
        self.server = server
        kind = "gateway" if server.is_gateway else "nchan"
        command = [program, f"127.0.0.1:{server.port}", str(agents.start), str(len(agents)), str(wait_ms), kind]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()

    def since_last(self):
        """Polls answered since the last call, and how late those were answered that waited for their whole time:
        median, 99th percentile and maximum in ms."""
        return self.numbers()[:4]

    def recordings_since_last(self):
        """Events of recordings that began since the last call, and the time at which 99 % of them had come."""
        _, _, _, _, begun, come_ms = self.numbers()
        return int(begun), come_ms / 1000

    def numbers(self):
        """The counts and times of the agents since the last call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answered, *others = self.read().split()
        return int(answered), *map(float, others)

    def read(self):
        """A line from the agents; their process ends at the first unexpected response."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.server.name}: its agents have ended\nlog: {self.server.log_tail()}")
        return line


def command_of(server, what, arguments):
    """The command that runs this file."""
    return [sys.executable, __file__, what, json.dumps({"port": server.port, **arguments})]


# --- Functions that run in a process of their own ---------------------------------------------------------------------


def context():
    """A TLS 1.3 client. It does not verify the certificate: that is work of the client, which is not measured."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    return tls


def connect(tls, port, session=None, receive_buffer=None):
    """A connection after its handshake."""
    plain = socket.socket()
    plain.settimeout(PATIENCE)
    if receive_buffer is not None:
        # Before the connection is there, so that the server never sees a larger window.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.connect(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(plain, session=session)


def disconnect(secured):
    """Ends a connection with close_notify. A reset, which unread tickets would cause, is another path in the server."""
    with contextlib.suppress(OSError):
        secured.unwrap()
    secured.close()


def request(method, path, headers=(), body=""):
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def read_head(secured):
    """Reads the head of a reply; returns it with what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = secured.recv(16384)
        if not more:
            raise ConnectionError("the connection ended in the head of a reply")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def field(head, name):
    """The value of a header of a reply, or None."""
    found = re.search(rf"^{name}: *(.*?)\r?$", head, re.MULTILINE | re.IGNORECASE)
    return found and found[1]


def exchange(secured, data):
    """Sends a request and reads its whole reply; returns its head and body."""
    secured.sendall(data)
    head, body = read_head(secured)
    length = int(field(head, "Content-Length"))
    while len(body) < length:
        more = secured.recv(65536)
        if not more:
            raise ConnectionError("the connection ended in the body of a reply")
        body += more
    return head, body


def handshakes(port, path, count, resume):
    """Makes `count` connections and ends each after its handshake; returns how many resumed a session."""
    tls = context()
    session = None
    if resume:
        with connect(tls, port) as first:
            # The ticket comes after the handshake, at the latest with the reply.
            exchange(first, request("GET", path))
            session = first.session
    resumed = 0
    for _ in range(count):
        secured = connect(tls, port, session)
        resumed += secured.session_reused
        disconnect(secured)
    return resumed


def first_bytes(port, small, video, headers, count):
    """Seconds from a request for the video to the first byte of its content, each on a connection that has already
    carried a request. After it the connection is dropped."""
    tls = context()
    times = []
    for _ in range(count):
        with connect(tls, port) as secured:
            exchange(secured, request("GET", small, headers))
            began = time.perf_counter()
            secured.sendall(request("GET", video, headers))
            _, rest = read_head(secured)
            if not rest:
                secured.recv(1)
            times.append(time.perf_counter() - began)
    return times


def stall(port, video, headers, count):
    """Begins `count` downloads and reads only their heads, until the end of the input."""
    tls = context()
    kept = []
    for _ in range(count):
        # A small buffer, so that nearly all of the kernel's memory is for the server's socket.
        secured = connect(tls, port, receive_buffer=4096)
        secured.sendall(request("GET", video, headers))
        kept.append(secured)
    for secured in kept:
        expect_video(read_head(secured)[0])
    wait_for_end()


def trickle(port, video, headers, count, pace=65536):
    """Reads `count` downloads at `pace` bytes a second each, until the end of the input."""
    tls = context()
    kept = [connect(tls, port) for _ in range(count)]
    for secured in kept:
        secured.sendall(request("GET", video, headers))
    for secured in kept:
        expect_video(read_head(secured)[0])
    ready()
    ended = ended_input()
    while not ended.is_set():
        for secured in kept:
            left = pace
            while left > 0:
                if not (more := secured.recv(left)):
                    raise SystemExit("a download ended too early")
                left -= len(more)
            # A round takes a second, so that the clients do not all read at once.
            if ended.wait(1 / count):
                return


def control(port, seconds, agents=(1500, 2000), kinds=("poll", "health"), pause=0.005):
    """Milliseconds that sign-ins and requests of these kinds take, one at a time with a pause between, by kind.

    Each round has a connection of its own, so that connecting is part of what its first request takes, as it is for
    an agent.
    """
    tls = context()
    times = {"sign-in": [], **{kind: [] for kind in kinds}}
    deadline = time.monotonic() + seconds
    paths = {"poll": "/agentevent/{}", "health": "/health"}
    agents = itertools.cycle(range(*agents))
    while time.monotonic() < deadline:
        agent = next(agents)
        began = time.perf_counter()
        with connect(tls, port) as secured:
            guid = sign_in_on(secured, agent)
            times["sign-in"].append(time.perf_counter() - began)
            for kind in kinds:
                asked = request("GET", RESOURCE + paths[kind].format(agent), (f"Guid: {guid}",))
                time.sleep(pause)
                began = time.perf_counter()
                head, body = exchange(secured, asked)
                times[kind].append(time.perf_counter() - began)
                expect_ok(head)
                if b'"retcode":"0"' not in body:
                    raise SystemExit(f"{kind}: {body.decode()}")
        time.sleep(pause)
    return {kind: [value * 1000 for value in values] for kind, values in times.items()}


def expect_ok(head):
    """Ends the run if a request was refused, since its figures would be worthless."""
    if not head.startswith("HTTP/1.1 200"):
        raise SystemExit(f"refused: {head}")


def expect_video(head):
    """Ends the run if the reply is not the video. A gateway also refuses with 200, and a few bytes."""
    expect_ok(head)
    if int(field(head, "Content-Length")) != VIDEO_BYTES:
        raise SystemExit(f"no video: {head}")


def ready():
    """Reports to `meanwhile` that this client is ready."""
    print("ready", flush=True)


def ended_input():
    """An event that is set at the end of the input, or after two minutes."""
    ended = threading.Event()

    def watch():
        select.select([sys.stdin], [], [], 120)
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    return ended


def wait_for_end():
    """Reports that this client is ready, and waits for the end of the input."""
    ready()
    ended_input().wait()


def sign_in(port, agent):
    """Signs an agent in, on a connection of its own; returns its Guid."""
    with connect(context(), port) as secured:
        return sign_in_on(secured, agent)


def sign_in_on(secured, agent):
    """Signs an agent in; returns its Guid."""
    head, body = exchange(secured, request("PUT", f"{RESOURCE}/onlineagent/{agent}/forcelogin", (), '{"password":""}'))
    guid = field(head, "Set-GUID")
    if guid is None:
        raise SystemExit(f"agent {agent} cannot sign in: {head} {body.decode()}")
    return guid.removeprefix("JSESSIONID=")


def main():
    """Calls one of the functions above by name."""
    what, arguments = sys.argv[1:]
    if (result := globals()[what](**json.loads(arguments))) is not None:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
