"""A machine that is the file server of the gateway in another: the mounts, and downloads from them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from client import Download, content
from gateway import Gateway, Watch, eventually
from image import WIRE
from machines import Machine
from probe import Prober, Session
from report import Report
from service import MAKE_VIDEO, use

AGENT, PROBERS = 1001, [1101, 1102]
FOLDER = f"1/0/20261124/{AGENT}"
SERVER, CLIENT = WIRE["files"][1], WIRE["gateway"][1]

# A video whose download by a slow client takes longer than a fault lasts, and a small one.
LARGE, LARGE_SIZE = "0900001.mp4", 5_000_000
SMALL, SMALL_SIZE = "0900002.mp4", 100_000
SLOW = 40_000
# Factors of that rate; 0 is without limit. LINGER is for those under way while others begin, which on a busy processor
# takes some of them a minute. It is still almost four times the rate that the gateway requires of a client.
LINGER, STEADY, HURRY = 0.2, 1, 0
BEGIN_TIMEOUT = 240

# A soft mount gives up after some fifteen seconds, and not after three minutes, the default.
SOFT = "soft,timeo=50,retrans=2"


Key = TypeVar("Key")


@dataclass(frozen=True)
class Mount:
    """A directory of the file server, and how the gateway's machine mounts it."""

    title: str
    drive: str
    name: str
    options: str
    kind: str = "nfs"

    @property
    def directory(self) -> str:
        return f"/mnt/auto/{self.name}" if self.kind == "autofs" else f"/mnt/{self.name}"

    @property
    def source(self) -> str:
        return f"//{SERVER}/{self.name}" if self.kind == "cifs" else f"{SERVER}:/srv/{self.name}"


MOUNTS = [
    Mount("NFS v3, hard", "P", "nfs3-hard", "ro,vers=3,hard"),
    Mount("NFS v3, soft", "Q", "nfs3-soft", f"ro,vers=3,{SOFT}"),
    Mount("NFS v4.2, hard", "Y", "nfs4-hard", "ro,vers=4.2,hard"),
    Mount("NFS v4.2, soft", "S", "nfs4-soft", f"ro,vers=4.2,{SOFT}"),
    Mount("CIFS", "T", "cifs", "ro,username=records,password=records,vers=3.1.1,rsize=262144", "cifs"),
    Mount("NFS v4.2, autofs", "U", "autofs", "ro,vers=4.2,hard", "autofs"),
]
DIRECTORIES = " ".join(f"/srv/{mount.name}" for mount in MOUNTS)
SMB_CONF = """[global]
server role = standalone server
log level = 0
disable spoolss = yes
[cifs]
path = /srv/cifs
read only = yes
"""


class Setup:
    """Both machines at work."""

    def __init__(self, gateway: Gateway, files: Machine):
        self.gateway, self.files = gateway, files

    def make(self, report: Report) -> None:
        with report.scenario("file server with NFS and CIFS; all mounts in use") as row:
            self.make_server()
            self.make_mounts()
            self.start()
            self.watch = Watch(self.gateway.machine)
            row.check((took := self.until_up()) is not None, f"not up: {self.watch.last()}")
            use(self.gateway, row, SMALL, SMALL_SIZE)
            self.session, self.prober = Session(self.gateway, AGENT), Prober(self.gateway, PROBERS)
            self.session.signed_in.wait(60)
            self.measure_quiet_time(row)
            row.health = f"200 after {took or 0:.0f} s"

    def make_server(self) -> None:
        files = self.files
        files.put(MAKE_VIDEO.encode(), "/root/make-video.py")
        self.make_videos({LARGE: LARGE_SIZE, SMALL: SMALL_SIZE})
        exports = [f"/srv/{mount.name} {CLIENT}(ro,no_subtree_check,root_squash,fsid={number})\n"
                   for number, mount in enumerate(MOUNTS, 1) if mount.kind != "cifs"]
        files.put("".join(exports).encode(), "/etc/exports")
        # The time after a start in which clients may reclaim their open files; 90 s by default.
        files.put(b"[nfsd]\nlease-time=15\ngrace-time=15\n", "/etc/nfs.conf.d/grace.conf")
        files.put(SMB_CONF.encode(), "/etc/samba/smb.conf")
        files.run("useradd -M records; printf 'records\\nrecords\\n' | smbpasswd -s -a records")
        self.start_server()

    def make_videos(self, sizes: dict[str, int]) -> None:
        """Makes the same videos on each mount."""
        first, *others = (f"/srv/{mount.name}/{FOLDER}" for mount in MOUNTS)
        words = " ".join(f"{first}/{name} {name} {size}" for name, size in sizes.items())
        copies = "".join(f" && mkdir -p {other} && cp -p {first}/* {other}" for other in others)
        self.files.run(f"python3 /root/make-video.py {words}{copies}")

    def start_server(self) -> None:
        self.files.run("systemctl start nfs-server smbd && exportfs -ra")

    def make_mounts(self) -> None:
        gateway = self.gateway
        gateway.install("/mnt/nfs4-hard", AGENT)
        gateway.set_agents(PROBERS, [AGENT])
        gateway.set("MAX_DOWNLOADS_PER_AGENT", "100")
        for mount in MOUNTS:
            if mount.drive != "Y":
                gateway.run(f"echo 'MOUNT_DIR.{mount.drive} = {mount.directory}' >>/etc/cc-gateway/basic.properties")
            if mount.kind == "autofs":
                gateway.put_lines("/etc/auto.master.d/records.autofs", ["/mnt/auto /etc/auto.records --timeout=10"])
                gateway.put_lines("/etc/auto.records", [f"{mount.name} -fstype=nfs,{mount.options} {mount.source}"])
                gateway.run("systemctl start autofs")
            else:
                kind = "nfs" if mount.kind == "nfs" else "cifs"
                gateway.run(f"mkdir -p {mount.directory} && mount -t {kind} -o {mount.options} {mount.source} {mount.directory}")
        gateway.kill_at_refused_calls()
        gateway.make_slow_clients(SLOW)

    def start(self) -> None:
        self.gateway.run("cc-gateway check --quiet && systemctl start cc-gateway")
        self.pid = self.gateway.property("MainPID")

    def measure_quiet_time(self, row) -> None:
        """Measures how long requests take without a fault, while the same downloads run as with a fault."""
        downloads = self.slow_downloads()
        begun = time.monotonic()
        time.sleep(40)
        self.quiet = begun, time.monotonic()
        self.gateway.pace(HURRY)
        for mount, download in downloads.items():
            row.check(download.wait().end == "complete" and not download.is_wrong, f"{mount.title}: {download}")
        time.sleep(5)
        self.idle = self.watch.last()
        sign_in, poll = (self.prober.p99(what, *self.quiet) for what in ("sign-in", "poll"))
        row.client += f"; p99 of sign-in {sign_in:.2f} s, of poll {poll:.2f} s"
        row.recovery = f"{self.idle['threads']} threads, {self.idle['files']} descriptors when idle"

    def slow_downloads(self, mounts: Iterable[Mount] = MOUNTS) -> dict[Mount, Download]:
        """Slow downloads of the large video, one from each mount, all under way."""
        return self.begin({mount: (mount, LARGE, content(LARGE, LARGE_SIZE)) for mount in mounts})

    def begin(self, wanted: dict[Key, tuple[Mount, str, bytes]]) -> dict[Key, Download]:
        """Slow downloads of videos with this content, all under way. The kernel's page cache is emptied before."""
        self.gateway.pace(LINGER)
        self.gateway.run("sync; echo 3 >/proc/sys/vm/drop_caches")
        downloads: dict[Key, Download] = {}

        def are_under_way() -> bool:
            for key, (mount, name, data) in wanted.items():
                # An emulated gateway may refuse some of so many at once.
                if key not in downloads or downloads[key].end in ("refused", "no answer"):
                    downloads[key] = Download(self.session.agent, self.record(mount, name), [data], self.gateway.machine.slow_port).start()
            return all(download.received > 100_000 for download in downloads.values())

        if eventually(are_under_way, BEGIN_TIMEOUT, 1) is None:
            raise AssertionError(f"not all downloads begin: {', '.join(str(download) for download in downloads.values())}")
        self.gateway.pace(STEADY)
        return downloads

    def small_download(self, mount: Mount) -> Download:
        return Download(self.session.agent, self.record(mount, SMALL), [content(SMALL, SMALL_SIZE)], timeout=60).start()

    def record(self, mount: Mount, name: str) -> str:
        return f"{mount.drive}:/{FOLDER}/{name}"

    def until_up(self, timeout: float = 180) -> float | None:
        """Seconds until /health is 200 and all mounts are up; None after the timeout."""
        def is_up() -> bool:
            last = self.watch.last()
            return last["health"] == 200 and len(last["up"]) == len(MOUNTS) and all(last["up"].values())
        return eventually(is_up, timeout, 0.3)
