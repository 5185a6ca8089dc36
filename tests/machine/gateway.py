"""The gateway in a machine: installed as README says, watched, and examined through the journal."""

import hashlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from client import Agent
from machines import CommandFailed, Machine

PASSWORD = "correct horse"
UNIT = "cc-gateway"
DROP_INS = f"/etc/systemd/system/{UNIT}.service.d"


def eventually(condition: Callable[[], object], timeout: float, pause: float = 1) -> float | None:
    """Seconds until the condition held; None if it never did."""
    begun = time.monotonic()
    while time.monotonic() - begun < timeout:
        try:
            if condition():
                return time.monotonic() - begun
        except CommandFailed:
            pass
        time.sleep(pause)
    return None


class Watch:
    """What watch.py in the machine prints, with the time at which it arrived here."""

    def __init__(self, machine: Machine):
        machine.put((Path(__file__).parent / "watch.py").read_bytes(), "/root/watch.py")
        self.process = subprocess.Popen(machine.ssh("exec python3 /root/watch.py"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.seen: list[tuple[float, dict]] = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        for line in self.process.stdout or ():
            self.seen.append((time.monotonic(), json.loads(line)))

    def last(self) -> dict:
        return self.seen[-1][1] if self.seen else {"health": 0, "up": {}, "hung": {}, "threads": 0, "files": 0}

    def since(self, begun: float) -> list[tuple[float, dict]]:
        return [(at, seen) for at, seen in list(self.seen) if at >= begun]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Gateway:
    """The service cc-gateway of a machine."""

    def __init__(self, machine: Machine, deb: Path):
        self.machine, self.deb = machine, deb
        self.certificate = ""

    def run(self, command: str, **options) -> str:
        return self.machine.run(command, **options)

    def install(self, mount: str, agent: int) -> str:
        """Runs the commands of README under Install, word for word but for sudo. Returns what dpkg said."""
        self.machine.put(self.deb.read_bytes(), f"/root/{self.deb.name}")
        said = self.run("dpkg -i cc-gateway_*.deb 2>&1")
        self.run(f"echo 'MOUNT_DIR = {mount}' | tee -a /etc/cc-gateway/basic.properties >/dev/null")
        self.run(f"hash=$(echo '{PASSWORD}' | cc-gateway hash-password) && "
                 f'echo "{agent} = $hash" | tee -a /etc/cc-gateway/agents.properties >/dev/null')
        self.certificate = self.run("cat /etc/cc-gateway/certificate.pem")
        return said

    def set_agents(self, agents: list[int], inspectors: list[int]) -> None:
        """Sets agents whose password is checked quickly: the usual 400 000 rounds take an emulated machine seconds."""
        salt, rounds = bytes(range(16)), 10_000
        key = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, rounds)
        lines = [f"{agent} = pbkdf2-sha256${rounds}${salt.hex()}${key.hex()}" for agent in [*agents, *inspectors]]
        lines += [f"{agent}.role = inspector" for agent in inspectors]
        # The file is overwritten and not replaced, so that it keeps its owner and mode.
        self.put_lines("/etc/cc-gateway/agents.properties", lines)

    def make_slow_clients(self, rate: int) -> None:
        """From now on, clients of the slow port get at most `rate` bytes a second."""
        self.machine.put((Path(__file__).parent / "relay.py").read_bytes(), "/root/relay.py")
        self.run(f"systemd-run -q --unit=slow-clients python3 /root/relay.py 9043 {rate}")

    def pace(self, factor: float) -> None:
        """Multiplies the rate of slow clients; 0 is without limit."""
        self.run(f"echo {factor} >/run/pace")

    def agent(self, number: int) -> Agent:
        return Agent(self.machine.port, self.certificate, number, PASSWORD)

    def put_lines(self, path: str, lines: list[str]) -> None:
        self.machine.put("".join(line + "\n" for line in lines).encode(), path)

    def set(self, key: str, value: str) -> None:
        """Replaces a setting of the installed file, which has a line for every key."""
        self.run(f"sed -i 's|^#\\?{key} = .*|{key} = {value}|' /etc/cc-gateway/basic.properties")

    def drop_in(self, name: str, text: str) -> None:
        self.machine.put(text.encode(), f"{DROP_INS}/{name}.conf")
        self.run("systemctl daemon-reload")

    def remove_drop_in(self, name: str) -> None:
        self.run(f"rm {DROP_INS}/{name}.conf; systemctl daemon-reload")

    def kill_at_refused_calls(self) -> None:
        """Makes a refused system call end the service, since one that only fails is not logged."""
        self.drop_in("kill", "[Service]\nSystemCallErrorNumber=kill\n")

    def property(self, name: str) -> str:
        return self.run(f"systemctl show -P {name} {UNIT}").strip()

    def is_serving(self) -> bool:
        """Whether it answers at all; 503 is an answer."""
        code = self.run("curl -sk -o /dev/null -m 10 -w '%{http_code}' https://127.0.0.1:8043/agentgateway/resource/health", check=False)
        return code in ("200", "503")

    def journal(self, since: str = "", what: str = f"-u {UNIT}") -> list[dict]:
        """The entries of the journal after the cursor."""
        after = f"--after-cursor='{since}'" if since else "-b"
        lines = self.run(f"journalctl -o json --no-pager -q {after} {what}").splitlines()
        return [json.loads(line) for line in lines]

    def cursor(self) -> str:
        return self.run("journalctl -n 0 --show-cursor -q").strip().removeprefix("-- cursor: ")

    def messages(self, since: str = "") -> list[str]:
        return [str(entry["MESSAGE"]) for entry in self.journal(since) if "MESSAGE" in entry]

    def denials(self, program: str) -> list[str]:
        """Lines of the audit system and the kernel about anything that was denied to the program."""
        lines = self.run("journalctl -b -q --no-pager -o cat _TRANSPORT=audit + _TRANSPORT=kernel; cat /var/log/audit/audit.log")
        pattern = re.compile(r"SECCOMP|type=1326|AVC|avc:|apparmor=.DENIED|SIGSYS")
        return sorted({line for line in lines.splitlines() if pattern.search(line) and program in line})
