"""The figures, one function each: what is done to the servers, and what of it goes into the report.

Whatever is compared between servers is taken in turns, A B C A B C, so that whatever else the machine does befalls
all of them alike; the median of the turns counts.
"""

import statistics
import subprocess
import sys
import time

import load
from report import Figure
from servers import VIDEO_BYTES

SUITES = {
    "TLS 1.3 AES-256-GCM": "TLS_AES_256_GCM_SHA384",
    "TLS 1.3 AES-128-GCM": "TLS_AES_128_GCM_SHA256",
    "TLS 1.3 ChaCha20": "TLS_CHACHA20_POLY1305_SHA256",
    "TLS 1.2 AES-256-GCM": "ECDHE-ECDSA-AES256-GCM-SHA384",
}
OURS = "cc-gateway"


def in_turns(servers, rounds, measure):
    """The median of `measure(server)` for each server, by name, over `rounds` turns after one that does not count."""
    samples = {server.name: [] for server in servers}
    for turn in range(rounds + 1):
        for server in servers:
            value = measure(server)
            if turn > 0:
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
            if resumed != (count if resume else 0):
                raise SystemExit(f"{server.name}: {resumed} of {count} handshakes were resumed")
            return seconds / count * 1e6

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


def size(bench):
    """The binary, and the crates in it."""
    yield Figure("static binary, stripped", "MB", {OURS: bench.binary.stat().st_size / 1e6}, most=6)
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


FIGURES = {function.__name__: function for function in (bulk, handshakes, small, size)}
