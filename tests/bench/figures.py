"""The figures, one function each: what is done to the servers, and what of it goes into the report.

Whatever is compared between servers is taken in turns, A B C A B C, so that whatever else the machine does befalls
all of them alike; the median of the turns counts.
"""

import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import load
from report import Figure
from servers import AGENTS, VIDEO_BYTES, write_gateway_settings

SUITES = {
    "TLS 1.3 AES-256-GCM": "TLS_AES_256_GCM_SHA384",
    "TLS 1.3 AES-128-GCM": "TLS_AES_128_GCM_SHA256",
    "TLS 1.3 ChaCha20": "TLS_CHACHA20_POLY1305_SHA256",
    "TLS 1.2 AES-256-GCM": "ECDHE-ECDSA-AES256-GCM-SHA384",
}
OURS = "cc-gateway"


def in_turns(servers, rounds, measure):
    """The median of `measure(server)` for each server, by name, over `rounds` turns after one that does not count. A
    server with a turn that measures None is left out."""
    samples = {server.name: [] for server in servers}
    for turn in range(rounds + 1):
        for server in [server for server in servers if server.name in samples]:
            value = measure(server)
            if value is None:
                del samples[server.name]
            elif turn > 0:
                samples[server.name].append(value)
    for name, values in samples.items():
        print(f"  {name}: {' '.join(f'{value:.4g}' for value in values)}", file=sys.stderr)
    return {name: statistics.median(values) for name, values in samples.items()}


def cpu_of(server, action):
    """CPU time the server spends on `action`, in seconds, and what the action returns."""
    before = server.cpu_seconds()
    result = action()
    # The server sees the end of the last connection a little after the client.
    time.sleep(0.02)
    return server.cpu_seconds() - before, result


def bulk(bench):
    """CPU time per GB of video, with each suite."""
    count = 2
    for name, suite in SUITES.items():

        def measure(server, suite=suite):
            seconds, _ = cpu_of(server, lambda: load.download(server, count, suite))
            return seconds / (count * VIDEO_BYTES / 1e9)

        medians = in_turns(bench.servers(), bench.rounds, measure)
        against = [("nginx", 0.38), ("static-web-server", 0.55)] if suite == "TLS_AES_256_GCM_SHA384" else []
        yield Figure(f"CPU per GB downloaded, {name}", "s", medians, against=against)


def handshakes(bench):
    """CPU time of full and of resumed handshakes. Connecting and the orderly end are part of it."""
    count = 200 if bench.quick else 500
    for name, resume in (("full", False), ("resumed", True)):

        def measure(server, resume=resume):
            arguments = {"path": server.small, "count": count, "resume": resume}
            seconds, resumed = cpu_of(server, lambda: load.in_other_process(server, "handshakes", **arguments))
            # A server that keeps its sessions in memory takes each ticket once, and is left out.
            return seconds / count * 1e6 if resumed == (count if resume else 0) else None

        medians = in_turns(bench.servers(), bench.rounds, measure)
        against = [] if resume else [("nginx", 0.65)]
        yield Figure(f"CPU per {name} TLS 1.3 handshake", "µs", medians, against=against, per_second=True)


def small(bench):
    """CPU time of small requests on kept connections: /health, and a poll that does not wait, against small files."""
    seconds = 1 if bench.quick else 2
    for kind, of_ours in (("health", health), ("poll", poll)):

        def measure(server, of_ours=of_ours):
            path, headers = of_ours(server) if server.is_gateway else (server.small, ())
            spent, answered = cpu_of(server, lambda: load.requests(server, path, headers, seconds))
            return spent / answered * 1e6

        medians = in_turns(bench.servers(), bench.rounds, measure)
        yield Figure(f"CPU per small request, {kind}", "µs", medians, against=[("Tomcat", 0.25)])


def health(server):
    """A request that needs no session."""
    return server.small, ()


def poll(server):
    """A request with a session, answered at once as AGENT_POLL_WAIT_FLAG is OFF."""
    return server.poll, server.headers


def first_byte(bench):
    """Time to the first byte of the video on a kept connection."""
    count = 5 if bench.quick else 10

    def measure(server):
        arguments = {"small": server.small, "video": server.video, "headers": server.headers, "count": count}
        return statistics.median(load.in_other_process(server, "first_bytes", **arguments)) * 1000

    medians = in_turns(bench.servers(), bench.rounds, measure)
    yield Figure("time to the first byte of the video", "ms", medians, over=[("nginx", 2)])


def memory(bench):
    """Resident memory, each time of servers that were just started."""
    idle = {}
    stalled = {}
    for name in bench.kinds():
        server = bench.fresh(name)
        time.sleep(0.5)
        idle[name] = server.memory_mb()
        arguments = {"video": server.video, "headers": bench.headers(server), "count": 200}
        with load.meanwhile(server, "stall", **arguments):
            # Until buffers are full and nobody moves any more.
            time.sleep(1)
            stalled[name] = server.memory_mb()
        server.stop()
    yield Figure("memory, idle", "MB", idle, most=8)
    yield Figure("memory, 200 stalled downloads", "MB", stalled, most=40)
    parked = {}
    waiting = "AGENT_POLL_WAIT_FLAG = ON\nAGENT_POLL_WAIT_TIMES = 1000\n"
    for name in bench.gateways():
        server = bench.fresh(name, settings=waiting)
        with load.meanwhile(server, "park", agents=(AGENTS.start, AGENTS.stop)):
            parked[name] = server.memory_mb()
        server.stop()
    yield Figure("memory, 1000 parked polls", "MB", parked, most=80)


def control(bench):
    """The slowest of a hundred control requests while 200 slow downloads run."""
    seconds = 6 if bench.quick else 15
    slowest = {}
    for server in bench.servers(bench.gateways()):
        arguments = {"video": server.video, "headers": server.headers, "count": 200}
        with load.meanwhile(server, "trickle", **arguments):
            times = load.in_other_process(server, "control", seconds=seconds)
        for kind, values in times.items():
            slowest.setdefault(kind, {})[server.name] = percentile(values, 99)
            said = f"{len(values)} times, median {statistics.median(values):.3g}"
            print(f"  {server.name}: {kind} {said}", file=sys.stderr)
    for kind, values in slowest.items():
        yield Figure(f"p99 of {kind} during 200 slow downloads", "ms", values, most=50)


def percentile(values, percent):
    """The value that so many percent are not above."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def start(bench):
    """Time from the start of the program to its line that it listens, with 1000 agents."""
    medians = {}
    for name in bench.gateways():
        binary = bench.kinds()[name][1]
        times = sorted(time_to_listen(bench.stage, binary) for _ in range(2 * bench.rounds + 1))
        medians[name] = statistics.median(times) * 1000
    yield Figure("start to listening, 1000 agents", "ms", medians, most=50)


def time_to_listen(stage, binary):
    """Starts a gateway, waits for its line, and stops it."""
    with tempfile.TemporaryDirectory(dir=stage.directory) as directory:
        directory = Path(directory)
        write_gateway_settings(directory, stage, "127.0.0.1:0", "LOG_LEVEL = info\n")
        command = [binary, "--config", str(directory / "basic.properties")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for line in process.stderr:
                if "listening on" in line:
                    return time.perf_counter() - began
            raise SystemExit(f"{binary} does not listen")
        finally:
            process.terminate()
            process.wait(10)
            process.stderr.close()


def size(bench):
    """The binary, the package if `packaging/build` has made it, and the crates."""
    yield Figure("static binary, stripped", "MB", {OURS: bench.binary.stat().st_size / 1e6}, most=6)
    for package in sorted(bench.repository.glob("target/packages/*.deb"))[-1:]:
        yield Figure("`.deb`", "MB", {OURS: package.stat().st_size / 1e6}, most=2.5)
    yield Figure("crates linked into the binary", "", {OURS: crates(bench.repository)}, most=45)


def crates(repository):
    """Crates that are linked for the target of the package: without those that only run while it is built."""
    command = ["cargo", "tree", "--locked", "--prefix", "none", "-e", "normal,no-proc-macro", "--format", "{p}"]
    listed = subprocess.run(
        [*command, "--target", "x86_64-unknown-linux-gnu"], cwd=repository, capture_output=True, text=True, check=True
    )
    # The first line is cc-gateway itself; (*) marks what stood there before.
    names = {line.removesuffix(" (*)") for line in listed.stdout.splitlines()[1:]}
    return len(names)


ALL = (bulk, handshakes, small, first_byte, memory, control, start, size)
FIGURES = {function.__name__: function for function in ALL}
