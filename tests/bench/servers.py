"""The servers that are compared: how each is started on loopback, measured and stopped.

All get the same certificate, the same files and the same settings: TLS 1.2 and 1.3 with session tickets, HTTP/1.1 with
up to 1000 requests a connection, no access log. Everything else is as their Debian packages ship it.
"""

import contextlib
import functools
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# cc-gateway gets the environment that its unit sets.
UNIT = Path(__file__).resolve().parents[2] / "packaging/systemd/cc-gateway.service"
RECORDING = "1/0/20201202/1001/0914442.mp4"
SMALL = "small.json"
VIDEO_BYTES = 200 * 1024 * 1024
AGENTS = range(1001, 2001)
# For the figures with many agents.
MANY_AGENTS = range(1001, 11001)
# Descriptors of a server: as many as the unit allows, or as this machine allows if that is fewer.
DESCRIPTORS = 65536
RESOURCE = "/agentgateway/resource"
# What GET /health answers, so that every server sends a small reply of the same length.
SMALL_REPLY = b'{"message":"success","retcode":"0"}'


def free_port():
    """A port that is free at the moment. The other servers cannot choose one by themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stage:
    """The files that the servers share, in a temporary directory."""

    def __init__(self, directory, binary, video_bytes=VIDEO_BYTES):
        self.video_bytes = video_bytes
        self.directory = Path(directory)
        self.mount = self.directory / "mount"
        self.certificate = self.directory / "certificate.pem"
        self.private_key = self.directory / "private-key.pem"
        # The lines of the agents file. None stands for agents without a password: hashing is slow on purpose and would
        # hide other costs.
        self.agents = None
        # The worker processes of nginx run as another user than the one who started it.
        self.directory.chmod(0o755)
        command = [binary, "certificate", "--name", "127.0.0.1", "--name", "localhost", "--out", str(self.directory)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.write_client_settings()
        self.write_files()

    def write_client_settings(self):
        """Settings of OpenSSL that make every client offer the same: one key share and, unless it asks for another,
        one suite. Without them newer clients would agree on different groups with different servers. P-256 is for the
        certificate: TLS 1.2 has one list for both."""
        settings = self.directory / "openssl.cnf"
        settings.write_text(
            "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n"
            "[all]\nGroups = X25519:P-256\nCiphersuites = TLS_AES_256_GCM_SHA384\n"
        )
        self.client_environment = {**os.environ, "OPENSSL_CONF": str(settings)}

    def write_files(self):
        """The video, of bytes that cannot be compressed, and the small file."""
        video = self.mount / RECORDING
        video.parent.mkdir(parents=True)
        with video.open("wb") as out:
            for _ in range(self.video_bytes // (1 << 20)):
                out.write(os.urandom(1 << 20))
        (self.mount / SMALL).write_bytes(SMALL_REPLY)


class Server:
    """A running server. `video` and `small` are the paths of the two files, `headers` what a request needs."""

    video = f"/{RECORDING}"
    small = f"/{SMALL}"
    headers = ()
    is_gateway = False
    # Whether code is compiled at run time. That costs time once and not for each request, so the server is warmed up.
    is_compiled_late = False

    def __init__(self, stage, binary, name, settings="", agents=AGENTS, listen="127.0.0.1"):
        self.stage = stage
        self.binary = binary
        self.name = name
        # Only cc-gateway uses these.
        self.settings = settings
        self.agents = agents
        self.listen = listen
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="server-", dir=stage.directory))
        # The worker processes of nginx run as another user than the one who started it.
        self.directory.chmod(0o755)
        self.log = (self.directory / "log").open("wb")
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, **self.environment()},
            start_new_session=True,
            preexec_fn=allow_descriptors,
        )
        self.wait_until_listening()

    def command(self):
        """Writes the server's settings and gives the command that starts it in the foreground."""
        raise NotImplementedError

    def environment(self):
        """What the server needs in its environment."""
        return {}

    def url(self, path):
        """The address of a path."""
        return f"https://127.0.0.1:{self.port}{path}"

    def wait_until_listening(self):
        """Waits until the port is open, for a minute at most. This time is not measured."""
        for _ in range(6000):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.01)
        self.stop()
        raise SystemExit(f"{self.name} does not start: {self.log_tail()}")

    def log_tail(self):
        """The end of the server's log."""
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def processes(self):
        """The server's process and its children."""
        pids = [self.process.pid]
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                pids += [int(child) for child in task.read_text().split()]
        return pids

    def cpu_seconds(self):
        """User and system time of all the server's processes, in seconds.

        It is read from the CPU clock of each process. utime + stime of /proc/PID/stat is the same sum in steps of
        10 ms, too coarse for short runs, and the sum of /proc/PID/task/*/schedstat lacks the threads that have ended,
        so it would not count a server with a thread for each client. The clock has neither problem.
        """
        return sum(time.clock_gettime(cpu_clock(pid)) for pid in self.processes())

    def memory_mb(self):
        """Resident memory of all the server's processes; what they share counts for each."""
        return sum(status_field(pid, "VmRSS") for pid in self.processes()) * 1024 / 1e6

    def private_memory_mb(self):
        """Resident memory of all the server's processes; what they share counts once."""
        kib = 0
        for pid in self.processes():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kib += int(re.search(r"^Pss:\s*(\d+)", text, re.MULTILINE)[1])
        return kib * 1024 / 1e6

    def threads(self):
        """Threads of all the server's processes."""
        return sum(status_field(pid, "Threads") for pid in self.processes())

    def stop(self):
        """Ends the server and all that it started, with SIGTERM first. May be called again: a process that has been
        waited for gets no signal, since its number may be another's by then."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(5)
        self.log.close()


def allow_descriptors():
    """Raises the limit of descriptors, in the process that becomes a server."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (max(hard, DESCRIPTORS), hard):
        with contextlib.suppress(OSError, ValueError):
            return resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def cpu_clock(pid):
    """The clock of the CPU time of another process, as clock_getcpuclockid(3) makes it."""
    cpuclock_sched = 2
    return (~pid << 3) | cpuclock_sched


def status_field(pid, name):
    """A number from /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)[1])


class Gateway(Server):
    """cc-gateway: limits raised to what the figures need, sessions that do not change while they are measured."""

    video = f"{RESOURCE}/recordfile/1001/videofiledownloadEx?recordId=Y:/{RECORDING}"
    small = f"{RESOURCE}/health"
    poll = f"{RESOURCE}/agentevent/1001"
    is_gateway = True

    def command(self):
        listen = f"{self.listen}:{self.port}"
        write_gateway_settings(self.directory, self.stage, self.binary, listen, self.settings, self.agents)
        return [self.binary, "--config", str(self.directory / "basic.properties")]

    def environment(self):
        """What the unit sets."""
        return dict(re.findall(r"^Environment=(\w+)=(\S+)$", UNIT.read_text(), re.MULTILINE))


def write_gateway_settings(directory, stage, binary, listen, more="", agents=AGENTS):
    """basic.properties and the agents file. The last line of a key counts, so `more` may replace these settings."""
    text = stage.agents or "".join(f"{agent} = {no_password(binary)}\n" for agent in agents)
    (directory / "agents.properties").write_text(text)
    (directory / "basic.properties").write_text(
        f"VIDEO_DOWNLOAD_FLAG = ON\nIF_SUPPORT_VIDEO = ON\nMOUNT_DIR = {stage.mount}\nMOUNT_CHECK = OFF\n"
        f"TLS_CERTIFICATE = {stage.certificate}\nTLS_PRIVATE_KEY = {stage.private_key}\nLISTEN = {listen}\n"
        "AUTHMODE = 1\nTIMEOUT_FLAG = OFF\nAGENT_POLL_WAIT_FLAG = OFF\nDRAIN_TIMEOUT = 1000\nLOG_LEVEL = warn\n"
        "MAX_CONNECTIONS = 9500\nMAX_CONNECTIONS_PER_ADDRESS = 9500\n"
        f"MAX_DOWNLOADS = 1024\nMAX_DOWNLOADS_PER_AGENT = 1024\n{more}"
    )


@functools.cache
def no_password(binary):
    """The value in the agents file for an agent without a password: `no-password`, or nothing in older builds."""
    with tempfile.TemporaryDirectory(prefix="cc-gateway-bench-") as directory:
        settings = Path(directory) / "basic.properties"
        (settings.parent / "agents.properties").write_text("1001 = no-password\n")
        settings.write_text("TLS_CERTIFICATE = certificate.pem\nTLS_PRIVATE_KEY = private-key.pem\nMOUNT_CHECK = OFF\n")
        run = functools.partial(subprocess.run, capture_output=True, text=True)
        run([binary, "certificate", "--out", directory], check=True)
        said = run([binary, "check", "--config", str(settings)])
    # The check may fail for other reasons, too; only a complaint about that line counts.
    return "" if "1001:" in said.stdout + said.stderr else "no-password"


class Nginx(Server):
    """nginx with the settings of its Debian package."""

    main = "worker_processes auto;\n"
    connections = 768
    locations = ""

    def command(self):
        settings = self.directory / "nginx.conf"
        settings.write_text(
            f"user www-data;\n{self.main}daemon off;\n"
            f"pid {self.directory}/pid;\nerror_log {self.directory}/error.log;\n"
            f"events {{ worker_connections {self.connections}; }}\n"
            "http {\n  sendfile on; tcp_nopush on; types_hash_max_size 2048; access_log off;\n"
            "  default_type application/octet-stream;\n  keepalive_requests 1000;\n"
            + "".join(f"  {kind}_temp_path {self.directory}/{kind};\n" for kind in self.temporary())
            + f"  server {{\n    listen {self.listen}:{self.port} ssl;\n"
            f"    ssl_certificate {self.stage.certificate};\n    ssl_certificate_key {self.stage.private_key};\n"
            "    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;\n"
            f"    root {self.stage.mount};\n{self.locations}  }}\n}}\n"
        )
        return [self.binary, "-c", str(settings)]

    def temporary(self):
        """Directories nginx makes whether or not it needs them."""
        return ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nchan(Nginx):
    """nginx with nchan, which parks polls: a channel for each agent, to which nothing is published. One worker process,
    which costs the least: several share memory with each other for every channel."""

    module = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    main = f"load_module {module};\nworker_processes 1;\nworker_rlimit_nofile {DESCRIPTORS};\n"
    connections = 16384
    locations = (
        "    location ~ /agentevent/(\\d+)$ {\n      nchan_subscriber longpoll;\n      nchan_channel_id $1;\n"
        "      nchan_subscriber_timeout 10s;\n    }\n"
    )


class BareLoop(Server):
    """tests/bench/programs/src/bin/bare_loop.rs: the least that a server with rustls can do."""

    def command(self):
        files = [self.stage.certificate, self.stage.private_key, self.stage.mount / RECORDING]
        return [self.binary, f"127.0.0.1:{self.port}", *map(str, files)]


class Tomcat(Server):
    """Tomcat's default servlet behind its default connector, with the JVM options of its Debian package."""

    is_compiled_late = True

    def command(self):
        for part in ("conf", "logs", "temp", "webapps", "work"):
            (self.directory / part).mkdir()
        shutil.copy("/etc/tomcat10/web.xml", self.directory / "conf")
        store = self.directory / "conf" / "store.p12"
        command = ["openssl", "pkcs12", "-export", "-in", self.stage.certificate, "-inkey", self.stage.private_key]
        subprocess.run([*command, "-out", store, "-passout", "pass:changeit"], check=True)
        (self.directory / "conf" / "server.xml").write_text(
            f"""<Server port="-1"><Service name="Catalina">
  <Connector address="{self.listen}" port="{self.port}" protocol="org.apache.coyote.http11.Http11NioProtocol"
             SSLEnabled="true" scheme="https" secure="true" maxKeepAliveRequests="1000">
    <SSLHostConfig protocols="TLSv1.2+TLSv1.3">
      <Certificate certificateKeystoreFile="{store}" certificateKeystoreType="PKCS12"
                   certificateKeystorePassword="changeit" type="EC"/>
    </SSLHostConfig>
  </Connector>
  <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps">
    <Context path="" docBase="{self.stage.mount}"/>
  </Host></Engine>
</Service></Server>
"""
        )
        return [self.binary, "run"]

    def environment(self):
        return {
            "CATALINA_HOME": "/usr/share/tomcat10",
            "CATALINA_BASE": str(self.directory),
            "JAVA_OPTS": "-Djava.awt.headless=true",
        }


class StaticWebServer(Server):
    """static-web-server: rustls like cc-gateway, but asynchronous."""

    def command(self):
        command = [self.binary, "--host", self.listen, "--port", str(self.port), "--root", str(self.stage.mount)]
        tls = ["--http2", "true", "--http2-tls-cert", str(self.stage.certificate)]
        return [*command, *tls, "--http2-tls-key", str(self.stage.private_key), "--log-level", "error"]
