"""Measures cc-gateway beside other servers and prints the result. Started by `run`, which prepares what it needs."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import load
from figures import BARE_LOOP, FIGURES, NCHAN
from report import print_report
from servers import AGENTS, BareLoop, Gateway, Nchan, Nginx, Stage, StaticWebServer, Tomcat

REPOSITORY = Path(__file__).resolve().parents[2]
TOMCAT = Path("/usr/share/tomcat10/bin/catalina.sh")


class Bench:
    """One run: the servers, each started when it is first needed, and how long to measure."""

    def __init__(self, options, stage, started):
        self.options = options
        self.stage = stage
        self.started = started
        self.repository = REPOSITORY
        self.binary = Path(options.binary)
        self.quick = options.quick
        self.rounds = options.rounds or (3 if options.quick else 5)
        self.running = {}

    def kinds(self):
        """Every server of the comparison, by name: its class and its binary, where that is not the system's."""
        kinds = {"cc-gateway": (Gateway, self.options.binary)}
        if self.options.against:
            kinds["before"] = (Gateway, self.options.against)
        kinds["nginx"] = (Nginx, "nginx")
        if TOMCAT.exists():
            kinds["Tomcat"] = (Tomcat, str(TOMCAT))
        if binary := static_web_server():
            kinds["static-web-server"] = (StaticWebServer, binary)
        return self.chosen(kinds)

    def chosen(self, kinds):
        """Those of `--servers`."""
        chosen = self.options.servers.split(",") if self.options.servers else kinds
        return {name: kind for name, kind in kinds.items() if name in chosen}

    def extras(self, name):
        """The name of a server that takes part in one figure only, or nothing if it is not to be measured."""
        extras = {NCHAN: (Nchan, "nginx"), BARE_LOOP: (BareLoop, self.program("bare_loop"))}
        return {known: kind for known, kind in self.chosen(extras).items() if known == name}

    def program(self, name):
        """The path of one of tests/bench/programs."""
        return str(Path(self.options.programs) / name)

    def gateways(self):
        """The names of the servers that are cc-gateway."""
        return [name for name, (kind, _) in self.kinds().items() if kind is Gateway]

    def fresh(self, name, settings="", agents=AGENTS, listen="127.0.0.1"):
        """Starts another server, which is stopped at the end of the run at the latest."""
        kind, binary = {**self.kinds(), **self.extras(name)}[name]
        server = kind(self.stage, binary, name, settings, agents, listen)
        self.started.callback(server.stop)
        return server

    def servers(self, names=None):
        """The servers that stay for the whole run, started when they are first needed, with the headers of requests."""
        for name in names or self.kinds():
            if name not in self.running:
                self.running[name] = server = self.fresh(name)
                server.headers = self.headers(server)
                if server.is_compiled_late:
                    load.warm_up(server, 10 if self.quick else 20)
        return [self.running[name] for name in names or self.kinds()]

    def headers(self, server):
        """The headers of a request for the video: a gateway needs the Guid of a session."""
        if not server.is_gateway:
            return []
        return [f"Guid: {load.in_other_process(server, 'sign_in', agent=1001)}"]


def static_web_server():
    """The binary, which no Debian package has; `cargo install static-web-server` puts it in one of these places."""
    kept = REPOSITORY / "target/bench/bin/static-web-server"
    return str(kept) if kept.exists() else shutil.which("static-web-server")


def busy_share():
    """The part of the machine's CPU time that other programs use, over two seconds before the first server starts."""
    before = cpu_times()
    time.sleep(2)
    after = cpu_times()
    spent = [now - then for now, then in zip(after, before)]
    idle = spent[3] + spent[4]
    return 1 - idle / sum(spent)


def cpu_times():
    """CPU time of all CPUs since the machine started: user, nice, system, idle, iowait and so on."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__.split(".")[0] + ".")
    parser.add_argument("--quick", action="store_true", help="fewer turns, shorter ones: some eight minutes")
    parser.add_argument("--only", choices=FIGURES, action="append", help="only this figure; may be repeated")
    parser.add_argument("--servers", metavar="NAME,NAME", help="only these servers")
    parser.add_argument("--rounds", type=int, help="turns of each server [default: 5, quick: 3]")
    parser.add_argument("--against", metavar="BINARY", help="another cc-gateway to measure beside, as `before`")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measures and prints. However it ends, the servers are stopped and their files removed."""
    options = arguments()
    # SIGTERM is turned into an exception, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    others = busy_share()
    measured = []
    with contextlib.ExitStack() as started:
        stage = Stage(started.enter_context(tempfile.TemporaryDirectory(prefix="cc-gateway-bench-")), options.binary)
        bench = Bench(options, stage, started)
        for name in options.only or FIGURES:
            print(f"{name} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
            for figure in FIGURES[name](bench):
                print(f"  = {figure.name}", file=sys.stderr)
                measured.append(figure)
    print_report(measured, others)
    print(f"took {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    main()
