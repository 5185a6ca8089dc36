"""The disk that every machine boots from: a small Debian with systemd, an NFS and a CIFS server and their clients.

It is made once, from packages of the archive that this machine's own apt uses, and kept under target/machine. Machines
never write to it: each has an overlay that goes with it.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

PACKAGES = """
    systemd systemd-sysv udev dbus kmod procps iproute2 iptables openssh-server curl python3 openssl
    nfs-kernel-server nfs-common samba cifs-utils autofs auditd linux-image-amd64 initramfs-tools e2fsprogs
""".split()

SIZE = "6G"

# Addresses on the wire between the machines, by the last byte of the card's address.
WIRE = {"gateway": ("52:54:00:00:00:01", "192.0.2.1"), "files": ("52:54:00:00:00:02", "192.0.2.2")}

FILES = {
    "etc/fstab": "LABEL=root / ext4 rw,noatime 0 1\n",
    "etc/systemd/network/10-out.network": "[Match]\nMACAddress=52:54:00:00:00:10\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n",
    # The key is made for each run, so the machine takes it from its kernel's command line.
    "etc/systemd/system/take-key.service": """[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir -p -m 700 /root/.ssh; sed -n "s/.*key=\\\\([^ ]*\\\\).*/ssh-ed25519 \\\\1/p" /proc/cmdline >/root/.ssh/authorized_keys'
[Install]
WantedBy=multi-user.target
""",
    # Every line of the journal stays, through a reboot, too.
    "etc/systemd/journald.conf.d/all.conf": "[Journal]\nStorage=persistent\nRateLimitBurst=0\nAudit=yes\n",
    "etc/ssh/sshd_config.d/many.conf": "MaxSessions 100\nMaxStartups 100\nUseDNS no\n",
}
for name, (mac, address) in WIRE.items():
    FILES[f"etc/systemd/network/20-{name}.network"] = f"[Match]\nMACAddress={mac}\n[Network]\nAddress={address}/24\n"

# Services of the file server are started by the scenarios that want them.
ENABLED = ["systemd-networkd", "take-key", "ssh", "auditd"]
DISABLED = ["nfs-server", "smbd", "nmbd", "winbind", "autofs", "samba-ad-dc", "apt-daily.timer", "apt-daily-upgrade.timer",
            "e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer"]


class Missing(Exception):
    """Something that this machine does not have; what needs it is skipped."""


def install_tools() -> None:
    """Installs what is missing of the tools, where that is possible."""
    tools = {"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs",
             "ssh": "openssh-client"}
    missing = [package for tool, package in tools.items() if not shutil.which(tool)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{', '.join(missing)} cannot be installed: not root, or no apt-get")
    print(f"installing {' '.join(missing)}", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["apt-get", "-qq", "update"], check=False, **quiet)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing]
    if subprocess.run(command, check=False, env=environment, **quiet).returncode != 0:
        raise Missing(f"{', '.join(missing)} cannot be installed")


def mirror(suite: str) -> str:
    """The mirror that this machine's own apt uses."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        check=True, capture_output=True, text=True).stdout
    for line in targets.splitlines():
        codename, component, uri = line.split(" ", 2)
        if (codename, component) == (suite, "main"):
            return uri
    raise Missing(f"apt names no mirror of {suite}")


def prepare(root: Path) -> None:
    """Makes a booting machine of the unpacked packages."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "dev").mkdir(exist_ok=True)
    (root / "etc/machine-id").write_text("")
    # What kept documentation out would keep out ours.
    (root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap").unlink()
    for unit in ENABLED:
        subprocess.run(["systemctl", f"--root={root}", "--quiet", "enable", unit], check=True)
    for unit in DISABLED:
        subprocess.run(["systemctl", f"--root={root}", "--quiet", "disable", unit], check=False,
                       stderr=subprocess.DEVNULL)


class Image:
    """What a machine boots: disk, kernel and initial root."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.disk, self.kernel, self.initrd = folder / "root.img", folder / "vmlinuz", folder / "initrd.img"

    def make(self) -> None:
        """Makes the image, unless it was made before from the same recipe."""
        release = Path("/etc/os-release").read_text()
        found = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
        if not found or not shutil.which("apt-get"):
            raise Missing("this is no Debian with a release name")
        suite = found[1]
        recipe = hashlib.sha256(repr((suite, Path(__file__).read_text())).encode()).hexdigest()
        stamp = self.folder / "recipe"
        if stamp.exists() and stamp.read_text() == recipe:
            return
        if os.geteuid() != 0:
            raise Missing("an image can be made by root alone")
        shutil.rmtree(self.folder, ignore_errors=True)
        root = self.folder / "root"
        root.mkdir(parents=True)
        print("making the image", flush=True)
        names = ",".join(PACKAGES)
        with (self.folder / "mmdebstrap.log").open("w") as log:
            source = f"deb {mirror(suite)} {suite} main"
            made = subprocess.run(
                ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={names}", "--dpkgopt=force-unsafe-io",
                 "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--skip=check/empty,output/dev", suite, str(self.folder / "root.tar"), source],
                check=False, stdout=log, stderr=log)
        if made.returncode != 0:
            raise Missing(f"mmdebstrap made no root; {log.name} says why")
        subprocess.run(["tar", "-C", str(root), "--exclude=./dev/*", "-xpf", str(self.folder / "root.tar")], check=True)
        (self.folder / "root.tar").unlink()
        prepare(root)
        for path, pattern in ((self.kernel, "vmlinuz-*"), (self.initrd, "initrd.img-*")):
            shutil.copyfile(next((root / "boot").glob(pattern)), path)
        subprocess.run(["truncate", "-s", SIZE, str(self.disk)], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-L", "root", "-d", str(root), str(self.disk)], check=True)
        shutil.rmtree(root)
        stamp.write_text(recipe)
