"""The service as systemd runs it: installed, in its sandbox, wrongly configured, without IPv6.

The recordings are on a tmpfs, since file servers have scenarios of their own.
"""

import re
import time

from client import Download, content
from gateway import Gateway, eventually
from report import Report, Row

MOUNT = "/mnt/records"
AGENT = 1001
# Inspectors may download all recordings, so that several of them can download the same one.
INSPECTORS = list(range(2001, 2013))
FOLDER = f"1/0/20261124/{AGENT}"
# Videos by name, with their sizes. The large one takes a slow client a while.
VIDEOS = {"0900001.mp4": 2_000_000, "0900002.mp4": 4_000_000}
SLOW = 200_000

MAKE_VIDEO = """import os, random, sys
for path, name, size in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as file:
        file.write(random.Random(name).randbytes(int(size)))
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)
"""


def record(name: str, drive: str = "Y", folder: str = FOLDER) -> str:
    return f"{drive}:/{folder}/{name}"


def make_videos(gateway: Gateway) -> None:
    gateway.machine.put(MAKE_VIDEO.encode(), "/root/make-video.py")
    gateway.run(f"mkdir -p {MOUNT} && mount -t tmpfs -o mode=755 tmpfs {MOUNT}")
    words = " ".join(f"{MOUNT}/{FOLDER}/{name} {name} {size}" for name, size in VIDEOS.items())
    gateway.run(f"python3 /root/make-video.py {words}")


def slow_downloads(gateway: Gateway, count: int) -> tuple[list[Download], list]:
    """`count` downloads of the large video, four by each agent, all under way."""
    versions = [content("0900002.mp4", VIDEOS["0900002.mp4"])]
    agents = [gateway.agent(INSPECTORS[nth]) for nth in range((count + 3) // 4)]
    for agent in agents:
        if agent.sign_in(5) != "0":
            raise AssertionError(f"agent {agent.number} cannot sign in")
    downloads = [Download(agents[nth // 4], record("0900002.mp4"), versions, gateway.machine.slow_port).start() for nth in range(count)]
    if eventually(lambda: all(download.received > 100_000 for download in downloads), 60, 0.2) is None:
        raise AssertionError(f"not all downloads begin: {', '.join(str(download) for download in downloads)}")
    return downloads, agents


def use(gateway: Gateway, row: Row, name: str = "0900001.mp4", size: int = VIDEOS["0900001.mp4"]) -> None:
    """Signs in, polls for the two events of a session, downloads and signs out."""
    agent = gateway.agent(AGENT)
    row.check((code := agent.sign_in(5)) == "0", f"sign-in: {code}")
    events = [agent.poll().get("event", {}).get("eventType") for _ in range(2)]
    row.check(events == ["AgentOther_InService", "AgentState_Ready"], f"events: {events}")
    download = Download(agent, record(name), [content(name, size)]).start().wait()
    row.check(download.end == "complete" and not download.is_wrong, f"download: {download}")
    row.check((code := agent.sign_out()) == "0", f"sign-out: {code}")
    agent.hang_up()
    row.client = "sign-in, poll, download, sign-out"


def install(gateway: Gateway, report: Report) -> None:
    with report.scenario("the .deb installed as README says") as row:
        make_videos(gateway)
        said = gateway.install(MOUNT, AGENT)
        row.check("made a self-signed certificate" in said, f"dpkg does not print that it made a certificate: {said}")
        row.check(gateway.run("systemctl is-enabled cc-gateway", check=False).strip() == "disabled", "the service is enabled")
        row.check(gateway.property("ActiveState") == "inactive", "the service is started")
        checked = gateway.run("cc-gateway check")
        row.check(f"mount MOUNT_DIR.Y: {MOUNT} is mounted" in checked, f"check does not see the mount: {checked}")
        gateway.run("systemctl enable --now cc-gateway")
        row.check(gateway.property("ActiveState") == "active", "it is not active")
        use(gateway, row)
        row.check(gateway.run("cc-gateway --version").startswith("cc-gateway "), "it does not print its version")
        row.check("/usr/share/doc/cc-gateway/" in gateway.run("dpkg -L cc-gateway"), "it has no documentation")


def sandbox(gateway: Gateway, report: Report) -> None:
    with report.scenario("whole sandbox, where a refused system call ends the service") as row:
        # A denial of another program, to check that denials are seen at all.
        gateway.run("systemd-run -q --wait -p SystemCallFilter=~mkdir -p SystemCallFilter=~mkdirat -p SystemCallErrorNumber=kill "
                    "mkdir /tmp/refused", check=False)
        row.check(eventually(lambda: gateway.denials("mkdir"), 20) is not None, "a denial of another program is not seen")
        gateway.kill_at_refused_calls()
        gateway.set_agents([AGENT], INSPECTORS)
        gateway.make_slow_clients(SLOW)
        gateway.run("systemctl restart cc-gateway")
        pid = gateway.property("MainPID")
        status = gateway.run(f"cat /proc/{pid}/status")
        for line in ("Seccomp:\t2", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"):
            row.check(line in status, f"{line!r} is not in its status")
        use(gateway, row)
        agent = gateway.agent(AGENT)
        agent.sign_in(5)
        events_of(agent, 2)
        gateway.run(f"python3 /root/make-video.py {MOUNT}/{FOLDER}/0900003.mp4 0900003.mp4 50000")
        events = events_of(agent, 2)
        row.check(events == ["AgentMediaEvent_Record", "AgentMediaEvent_StopRecordDone"], f"events of a recording: {events}")
        since = gateway.cursor()
        gateway.run("echo '2099 = no-password' >>/etc/cc-gateway/agents.properties && systemctl reload cc-gateway")
        told = eventually(lambda: any("agents" in line for line in gateway.messages(since)), 30)
        row.check(told is not None, "the log does not mention the reload")
        gateway.run("systemctl stop cc-gateway")
        result = gateway.property("Result")
        row.check(result == "success", f"result of the stop: {result}")
        row.check(not (denials := gateway.denials("cc-gateway")), f"denied: {denials}")
        gateway.run("systemctl start cc-gateway")
        row.check(gateway.property("NRestarts") == "0", "it was restarted")
        row.client += ", events, reload, stop"


def events_of(agent, count: int) -> list[str]:
    """The next `count` events, from `count` + 4 polls at most."""
    events = []
    for _ in range(count + 4):
        if event := agent.poll().get("event"):
            events.append(event["eventType"])
        if len(events) == count:
            break
    return events


def journal(gateway: Gateway, report: Report) -> None:
    with report.scenario("journal: priorities, and time once a line") as row:
        entries = [entry for entry in gateway.journal() if entry["SYSLOG_IDENTIFIER"] == "cc-gateway"]
        expected = {"listening on": "6", "no password is asked": "4", "forceLogin agent=": "6", "shutting down": "6", "stopped": "6"}
        for words, priority in expected.items():
            found = {entry["PRIORITY"] for entry in entries if words in str(entry["MESSAGE"])}
            row.check(found == {priority}, f"priorities of {words!r}: {sorted(found)}")
        stamped = [entry["MESSAGE"] for entry in entries if re.search(r"\d\d:\d\d:\d\d|^<\d>", str(entry["MESSAGE"]))]
        row.check(not stamped, f"time or priority inside a message: {stamped[:2]}")
        row.client = f"{len(entries)} lines"


def wrong_configuration(gateway: Gateway, report: Report) -> None:
    with report.scenario("a wrong configuration stays down, and says why") as row:
        since = gateway.cursor()
        gateway.run("cp -p /etc/cc-gateway/basic.properties /root/")
        gateway.set("MAXTIME", "soon")
        row.check(gateway.run("systemctl reload cc-gateway && echo reloaded", check=False) == "", "a reload with a mistake succeeds")
        row.check(gateway.property("ActiveState") == "active", "a refused reload ends the service")
        gateway.run("systemctl restart cc-gateway", check=False)
        time.sleep(5)  # Longer than systemd would wait before it tried again.
        row.check(gateway.property("ActiveState") == "failed", f"it is {gateway.property('ActiveState')}")
        row.check((code := gateway.property("ExecMainStatus")) == "78", f"it ended with {code}")
        shown = gateway.run("systemctl status --no-pager cc-gateway", check=False)
        line = re.search(r"/etc/cc-gateway/basic\.properties:\d+: MAXTIME: .*", shown)
        row.check(line, f"the status does not say what is wrong: {shown[-300:]}")
        errors = [entry for entry in gateway.journal(since) if "MAXTIME" in str(entry["MESSAGE"])]
        row.check(errors and all(entry["PRIORITY"] == "3" for entry in errors), "the mistake is not logged as an error")
        gateway.run("cp -p /root/basic.properties /etc/cc-gateway/ && systemctl restart cc-gateway")
        row.check((took := eventually(gateway.is_serving, 60)) is not None, "it does not come back")
        row.health = f"exit code {code}; `{line[0] if line else ''}`"
        row.recovery = f"serving {took or 0:.0f} s after the correction"


def without_ipv6(gateway: Gateway, report: Report) -> None:
    with report.scenario("`ipv6.disable=1`") as row:
        make_videos(gateway)
        gateway.install(MOUNT, AGENT)
        row.check("ipv6.disable=1" in gateway.run("cat /proc/cmdline"), "the kernel has IPv6")
        gateway.run("cc-gateway check && systemctl enable --now cc-gateway")
        use(gateway, row)
        lines = [entry for entry in gateway.journal() if "has no IPv6" in str(entry["MESSAGE"])]
        row.check(len(lines) == 1 and lines[0]["PRIORITY"] == "4", f"{len(lines)} warnings about it")
