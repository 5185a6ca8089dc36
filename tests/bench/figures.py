"""The figures. Each has a function that measures the servers and yields the rows of the report.

Servers are compared in turns, A B C A B C, so that other work of the machine affects all of them alike; the median of
the turns counts.
"""

import contextlib
import math
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import delay
import load
from report import Figure
from servers import AGENTS, MANY_AGENTS, VIDEO_BYTES, allow_descriptors, write_gateway_settings

SUITES = {
    "TLS 1.3 AES-256-GCM": "TLS_AES_256_GCM_SHA384",
    "TLS 1.3 AES-128-GCM": "TLS_AES_128_GCM_SHA256",
    "TLS 1.3 ChaCha20": "TLS_CHACHA20_POLY1305_SHA256",
    "TLS 1.2 AES-256-GCM": "ECDHE-ECDSA-AES256-GCM-SHA384",
}
OURS = "cc-gateway"
NCHAN = "nginx + nchan"
BARE_LOOP = "bare loop"
# How long a poll without an event waits, here and with the default settings.
POLL_WAIT_MS = 10_000
WAITING = "AGENT_POLL_WAIT_FLAG = ON\nAGENT_POLL_WAIT_TIMES = 100\nAGENT_POLL_WAIT_INTERVAL = 100\n"
# Time between two scans for new recordings, as with the default settings.
SCAN_INTERVAL_MS = 2000
# The kernel's stack of a thread on x86-64 and arm64.
KERNEL_STACK_MB = 16 * 1024 / 1e6


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

        medians = in_turns(bench.servers([*bench.kinds(), *bench.extras(BARE_LOOP)]), bench.rounds, measure)
        against = [("nginx", 0.38), ("static-web-server", 0.55), (BARE_LOOP, 1.15)] if suite == "TLS_AES_256_GCM_SHA384" else []
        yield Figure(f"CPU per GB downloaded, {name}", "s", medians, against=against)


def handshakes(bench):
    """CPU time of full and of resumed handshakes. Connecting and closing are part of it."""
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
        yield Figure(f"CPU per small request, {kind}", "µs", medians, against=[("nginx", 1.6)], beyond=[("nginx", 1.2)])


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


def long_polls(bench):
    """The cost of agents who only poll, beside nginx with nchan in the gateway's place.

    Both are measured at the same time, each with its own agents, after all of them have polled once. Memory is resident
    memory; what nginx's processes share counts once. The kernel's stacks are threads times 16 KiB.
    """
    seconds = POLL_WAIT_MS / 1000 * (1 if bench.quick else 2)
    memory, stacks, threads, cpu = ({} for _ in range(4))
    counts = (1000, 4000, 9000)
    names = [*bench.gateways(), *bench.extras(NCHAN)]
    for count in counts:
        with contextlib.ExitStack() as running:
            all_agents = [agents_of(bench, running, name, count) for name in names]
            time.sleep(POLL_WAIT_MS / 1000)
            for agents in all_agents:
                agents.since_last()
            before = [agents.server.cpu_seconds() for agents in all_agents]
            time.sleep(seconds)
            after = [agents.server.cpu_seconds() for agents in all_agents]
            polls = [agents.since_last()[0] for agents in all_agents]
            for agents, then, now, answered in zip(all_agents, before, after, polls):
                server = agents.server
                memory.setdefault(count, {})[server.name] = server.private_memory_mb()
                threads.setdefault(count, {})[server.name] = server.threads()
                stacks.setdefault(count, {})[server.name] = server.threads() * KERNEL_STACK_MB
                cpu.setdefault(count, {})[server.name] = (now - then) / answered * 1e6
                print(f"  {server.name}: {count} agents, {answered} polls in {seconds:.0f} s", file=sys.stderr)
    for count in counts:
        most = {"against": [(NCHAN, 0.40)], "beyond": [(NCHAN, 0.30)]} if count == counts[-1] else {}
        yield Figure(f"memory, {count} agents who poll", "MB", memory[count], **most)
        yield Figure(f"kernel stacks, {count} agents who poll", "MB", stacks[count])
        yield Figure(f"threads, {count} agents who poll", "", threads[count], most=48)
        most = {"against": [(NCHAN, 0.90)], "beyond": [(NCHAN, 0.75)]} if count == counts[-1] else {}
        yield Figure(f"CPU per poll, {count} agents who poll", "µs", cpu[count], **most)


def agents_of(bench, running, name, count, settings=WAITING):
    """A server with `count` agents who poll; both end with `running`. The first agent is left for other requests."""
    server = bench.fresh(name, settings, MANY_AGENTS)
    running.callback(server.stop)
    return running.enter_context(load.Agents(bench.program("agents"), server, MANY_AGENTS[1 : count + 1], POLL_WAIT_MS))


def crowd(bench):
    """How long requests take beside 9000 agents who poll and 64 slow downloads, and how many threads there are then."""
    seconds = 11 if bench.quick else 20
    downloads = 64
    slowest = {"sign-in": {}, "health": {}, "poll": {}}
    threads = {}
    for name in bench.gateways():
        with contextlib.ExitStack() as running:
            agents = agents_of(bench, running, name, 9000)
            server = agents.server
            others = MANY_AGENTS[9001:]
            arguments = {"video": server.video, "headers": bench.headers(server), "count": downloads}
            running.enter_context(load.meanwhile(server, "trickle", **arguments))
            agents.since_last()
            arguments = {"agents": (others.start, others.stop), "kinds": ["health"]}
            times = load.in_other_process(server, "control", seconds=seconds, **arguments)
            threads[name] = server.threads() - downloads
            # The 99th percentile of how late polls are answered that have waited for their whole time.
            slowest["poll"][name] = agents.since_last()[2]
            for kind, values in times.items():
                slowest[kind][name] = percentile(values, 99)
                said = f"{len(values)} times, median {statistics.median(values):.3g}"
                print(f"  {name}: {kind} {said}", file=sys.stderr)
    where = "beside 9000 parked polls and 64 slow downloads"
    for kind, values in slowest.items():
        kind = "a poll's answer after its wait" if kind == "poll" else kind
        yield Figure(f"p99 of {kind}, {where}", "ms", values, most=20)
    yield Figure(f"threads {where}, without one for each download", "", threads, most=48)


def looks(bench):
    """The cost of a scan for new recordings, and the time until polling agents get the events of recordings that appear
    at once."""
    with contextlib.ExitStack() as running:
        sites = {
            size: [site_of(bench, running, name, *size) for name in bench.gateways()] for size in ((1000, 1), (500, 200), (5000, 1))
        }
        # For a minute after the first scan, recordings that may have been growing before it are watched.
        time.sleep(75)
        for (count, recordings), all_agents in sites.items():
            quiet, busy, heard = {}, {}, {}
            for agents, day in all_agents:
                name = agents.server.name
                quiet[name] = statistics.median(costs_of_looks(agents.server, 5 * SCAN_INTERVAL_MS / 1000))
                turns = [one_more_each(agents, day, turn) for turn in range(bench.rounds)]
                busy[name], heard[name] = (statistics.median(values) for values in zip(*turns))
                said = ", ".join(f"{cost:.3g} ms and heard of after {wait:.0f} ms" for cost, wait in turns)
                print(f"  {name}: {count} agents: {said}", file=sys.stderr)
            if count == 1000:
                most = SCAN_INTERVAL_MS + 200
                yield Figure(f"p99 from recording to event, {count} parked polls", "ms", heard, most=most)
                continue
            who = f"{count} agents with {recordings} recording{'s' * (recordings > 1)} each"
            yield Figure(f"CPU of a look, {who}, nothing new", "ms", quiet, most=5)
            yield Figure(f"CPU of a look, {who}, one more for each", "ms", busy, most=50)


def site_of(bench, running, name, count, recordings):
    """`count` agents who poll, each with `recordings` recordings of a day on a separate mount; and the day's folder."""
    mount = Path(running.enter_context(tempfile.TemporaryDirectory(dir=bench.stage.directory)))
    day = mount / "1/0/20261125"
    for agent in MANY_AGENTS[1 : count + 1]:
        (day / str(agent)).mkdir(parents=True)
        for number in range(recordings):
            (day / str(agent) / f"{number:07}.mp4").write_bytes(b"v")
    settings = f"{WAITING}MOUNT_DIR = {mount}\nRECORD_SCAN_INTERVAL = {SCAN_INTERVAL_MS}\n"
    return agents_of(bench, running, name, count, settings), day


def one_more_each(agents, day, turn):
    """Adds a recording for each agent. Returns the cost of the most expensive scan that follows, and the time until
    99 % of the agents had their event, both in ms."""
    agents.recordings_since_last()
    began = time.time()
    count = 0
    for folder in day.iterdir():
        (folder / f"9{turn:06}.mp4").write_bytes(b"v")
        count += 1
    cost = max(costs_of_looks(agents.server, 3 * SCAN_INTERVAL_MS / 1000))
    begun, come = agents.recordings_since_last()
    if begun != count:
        raise SystemExit(f"{agents.server.name}: {begun} of {count} recordings were announced")
    return cost, (come - began) * 1000


def costs_of_looks(server, seconds):
    """CPU time in ms of each scan that ends within `seconds`."""
    costs = []
    ends = time.monotonic() + seconds
    before = load.metrics(server)
    while time.monotonic() < ends:
        time.sleep(0.1)
        after = load.metrics(server)
        if after["cc_gateway_looks_total"] > before["cc_gateway_looks_total"]:
            count = after["cc_gateway_looks_total"] - before["cc_gateway_looks_total"]
            spent = after["cc_gateway_look_cpu_seconds_total"] - before["cc_gateway_look_cpu_seconds_total"]
            costs.append(spent / count * 1000)
            before = after
    return costs


def memory(bench):
    """Resident memory, and the kernel's memory for TCP, each time of servers that were just started.

    The latter is the increase of the pages in /proc/net/sockstat: the buffers of all sockets of the machine. Those of
    the clients are small here.
    """
    idle, stalled, kernel = {}, {}, {}
    for name in bench.kinds():
        server = bench.fresh(name)
        time.sleep(0.5)
        idle[name] = server.memory_mb()
        arguments = {"video": server.video, "headers": bench.headers(server), "count": 200}
        before = tcp_memory_mb()
        with load.meanwhile(server, "stall", **arguments):
            # Until the buffers are full and no data moves any more.
            time.sleep(2)
            stalled[name] = server.memory_mb()
            kernel[name] = tcp_memory_mb() - before
        server.stop()
    yield Figure("memory, idle", "MB", idle, most=8)
    yield Figure("memory, 200 stalled downloads", "MB", stalled, most=40)
    yield Figure("the kernel's TCP memory, 200 stalled downloads", "MB", kernel, most=200)


def tcp_memory_mb():
    """Memory of all TCP sockets of the machine."""
    text = Path("/proc/net/sockstat").read_text()
    pages = int(re.search(r"^TCP:.* mem (\d+)", text, re.MULTILINE)[1])
    return pages * resource.getpagesize() / 1e6


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
    """The value that `percent` percent of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def distance(bench):
    """One download over a path with 50 ms of delay: in MB per second."""
    rates = {}
    for name in bench.kinds():
        with contextlib.ExitStack() as running:
            if (far := running.enter_context(delay.path(0.050))) is None:
                return
            server = bench.fresh(name, listen="0.0.0.0")
            running.callback(server.stop)
            server.headers = bench.headers(server)
            values = [load.download_from_afar(server, far) for _ in range(2 if bench.quick else 3)]
            print(f"  {name}: {' '.join(f'{value:.4g}' for value in values)}", file=sys.stderr)
            rates[name] = statistics.median(values)
    yield Figure("one download over 50 ms of delay", "MB/s", rates, least=20)


def start(bench):
    """Time from the start of the program to its line that it listens."""
    for agents, most in ((AGENTS, 50), (MANY_AGENTS, 150)):
        medians = {}
        for name in bench.gateways():
            binary = bench.kinds()[name][1]
            times = [time_to_listen(bench.stage, binary, agents) for _ in range(2 * bench.rounds + 1)]
            medians[name] = statistics.median(times) * 1000
        yield Figure(f"start to listening, {len(agents)} agents", "ms", medians, most=most)


def time_to_listen(stage, binary, agents):
    """Starts a gateway, waits for its line, and stops it."""
    with tempfile.TemporaryDirectory(dir=stage.directory) as directory:
        directory = Path(directory)
        write_gateway_settings(directory, stage, binary, "127.0.0.1:0", "LOG_LEVEL = info\n", agents)
        command = [binary, "--config", str(directory / "basic.properties")]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=allow_descriptors
        )
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
    """The number of crates linked for the target of the package, without those that run only during the build."""
    command = ["cargo", "tree", "--locked", "--prefix", "none", "-e", "normal,no-proc-macro", "--format", "{p}"]
    listed = subprocess.run(
        [*command, "--target", "x86_64-unknown-linux-gnu"], cwd=repository, capture_output=True, text=True, check=True
    )
    # The first line is cc-gateway itself; (*) marks crates that were listed before.
    names = {line.removesuffix(" (*)") for line in listed.stdout.splitlines()[1:]}
    return len(names)


ALL = (bulk, handshakes, small, first_byte, memory, control, long_polls, crowd, looks, distance, start, size)
FIGURES = {function.__name__: function for function in ALL}
