"""Machines in qemu: started, controlled over ssh, restarted, and stopped with the program, however that ends.

Each has a network card that reaches only forwarded ports on the host's loopback, and may have one on a wire that joins
two machines.
"""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

from image import WIRE, Image, Missing

# Seconds. An emulated machine is up in half a minute, or in several minutes on a busy processor.
BOOT_TIMEOUT = 600
COMMAND_TIMEOUT = 300


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def accelerator(image: Image, folder: Path) -> str:
    """`kvm` if a kernel runs with it, else emulation. Not every host that has the device allows its use."""
    emulation = "tcg,thread=multi"
    if not Path("/dev/kvm").exists():
        return emulation
    said = folder / "kvm.log"
    # A kernel without a root file system panics, which ends the machine.
    command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512M", "-nographic", "-no-reboot", "-nic", "none",
               "-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1"]
    with said.open("w") as log, contextlib.suppress(subprocess.TimeoutExpired):
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=30)
        if ended.returncode == 0 and "Kernel panic" in said.read_text(errors="replace"):
            return "kvm"
    return emulation


def make_key(folder: Path) -> None:
    """The key by which the machines of this run are reached."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)


class CommandFailed(Exception):
    """A command that failed in a machine, with its output."""


class Machine:
    """One machine. `run` carries out a command of the shell in it as root."""

    def __init__(self, image: Image, folder: Path, name: str, accel: str, wire: str = "", arguments: str = ""):
        self.name, self.folder = name, folder
        self.ssh_port, self.port, self.slow_port = free_port(), free_port(), free_port()
        self.key = folder / "key"
        public = (folder / "key.pub").read_text().split()[1]
        # no_timer_check: on a busy host an emulated timer may not tick in time, which a kernel takes for a defect.
        forward = ",".join(f"hostfwd=tcp:127.0.0.1:{a}-:{b}" for a, b in ((self.ssh_port, 22), (self.port, 8043), (self.slow_port, 9043)))
        command = [
            # The machine ends with this program, even if that is killed.
            "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-name", name, "-accel", accel,
            "-cpu", "host" if accel == "kvm" else "max,-la57", "-smp", "2", "-m", "2G", "-nodefaults", "-display", "none",
            "-serial", f"file:{folder}/{name}.log", "-device", "virtio-rng-pci",
            "-kernel", str(image.kernel), "-initrd", str(image.initrd),
            "-append", f"root=LABEL=root rw console=ttyS0 quiet no_timer_check panic=1 systemd.hostname={name} key={public} {arguments}",
            "-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on,cache=unsafe",
            "-netdev", f"user,id=out,restrict=on,{forward}", "-device", "virtio-net-pci,netdev=out,mac=52:54:00:00:00:10",
        ]
        if wire:
            other = next(end for end in WIRE if end != wire)
            command += ["-netdev", f"dgram,id=wire,local.type=unix,local.path={folder}/{wire}.wire,"
                                   f"remote.type=unix,remote.path={folder}/{other}.wire",
                        "-device", f"virtio-net-pci,netdev=wire,mac={WIRE[wire][0]}"]
        with (folder / f"{name}.qemu").open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ssh(self, *command: str) -> list[str]:
        options = {"IdentityFile": self.key, "IdentitiesOnly": "yes", "BatchMode": "yes", "StrictHostKeyChecking": "no",
                   "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR", "ConnectTimeout": "30", "ServerAliveInterval": "30",
                   # One connection for all commands, since an emulated machine takes seconds to make one.
                   "ControlMaster": "auto", "ControlPath": self.folder / f"{self.name}.ssh", "ControlPersist": "yes"}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "none", "-p", str(self.ssh_port), *words, "root@127.0.0.1", *command]

    def run(self, command: str, check: bool = True, timeout: float = COMMAND_TIMEOUT, data: bytes | None = None) -> str:
        """Runs a command. Returns what it writes to its standard output."""
        given = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(self.ssh(command), capture_output=True, check=False, timeout=timeout, **given)
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{self.name}: {command}: no end in {timeout:.0f} s") from None
        if check and done.returncode != 0:
            said = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise CommandFailed(f"{self.name}: {command}: {done.returncode}: {said[-600:]}")
        return done.stdout.decode(errors="replace")

    def put(self, content: bytes, path: str) -> None:
        self.run(f"mkdir -p \"$(dirname '{path}')\" && cat >'{path}'", data=content)

    def boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id", timeout=60)

    def wait_until_up(self, before: str = "") -> None:
        """Waits until ssh answers, in another boot than `before`, and systemd has started everything."""
        end = time.monotonic() + BOOT_TIMEOUT
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(CommandFailed):
                if self.boot_id() != before:
                    self.run("systemctl is-system-running --wait || true")
                    return
            time.sleep(1)
        raise Missing(f"{self.name} does not come up; {self.folder}/{self.name}.log and .qemu say how far it came")

    def hang_up(self) -> None:
        """Ends the connection that commands share."""
        subprocess.run(self.ssh("-O", "exit"), check=False, capture_output=True)

    def crash(self) -> str:
        """Reboots at once, without a shutdown. Returns the id of the boot that ended."""
        boot = self.boot_id()
        self.run("sync; nohup sh -c 'sleep 1; echo b >/proc/sysrq-trigger' >/dev/null 2>&1 &")
        self.hang_up()
        return boot

    def keep_journal(self) -> None:
        """Writes the machine's journal beside the log of its console, so that failed checks can be explained."""
        with contextlib.suppress(CommandFailed):
            journal = self.run("journalctl -b -q --no-pager -o short-monotonic", check=False, timeout=120)
            (self.folder / f"{self.name}-journal.log").write_text(journal)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.keep_journal()
        self.hang_up()
        self.process.kill()
        self.process.wait()


def clean(folder: Path) -> None:
    """Empties a folder of an earlier run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
