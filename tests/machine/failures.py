"""The service when it is stopped, killed, short of memory, replaced or removed, with clients at work."""

import threading
import time
from collections.abc import Callable

from client import NoAnswer
from gateway import Gateway, eventually
from report import Report, Row
from service import AGENT, INSPECTORS, slow_downloads, use

# Seconds. On a quiet machine a service that was killed serves again within a few seconds; emulated, with other
# scenarios at work, it takes longer.
RESTART_TIMEOUT = 60
WATCHDOG = 30


def serves_again(gateway: Gateway, row: Row, pid: str, begun: float, timeout: float) -> None:
    """Checks that another process serves within `timeout`, and that it works."""
    again = eventually(lambda: gateway.property("MainPID") not in (pid, "0") and gateway.is_serving(), timeout, 0.5)
    row.check(again is not None, f"it does not serve again within {timeout:.0f} s")
    row.recovery = f"serving after {time.monotonic() - begun:.0f} s"
    use(gateway, row)


def killed(gateway: Gateway, report: Report, name: str, how: Callable[[str], object], result: str, within: float) -> None:
    """Ends the service with `how`. systemd has to report `result`, and to restart the service."""
    with report.scenario(name) as row:
        pid, since, begun = gateway.property("MainPID"), gateway.cursor(), time.monotonic()
        restarts = int(gateway.property("NRestarts"))
        how(pid)
        serves_again(gateway, row, pid, begun, within)
        row.check(int(gateway.property("NRestarts")) > restarts, "systemd did not restart it")
        lines = gateway.run(f"journalctl -q --no-pager -o cat --after-cursor='{since}' UNIT=cc-gateway.service")
        row.check(f"'{result}'" in lines, f"systemd did not see {result}: {lines[-300:]}")
        row.health = f"systemd: `{result}`"


def exhaust_memory(gateway: Gateway) -> None:
    """Sets MemoryMax to less than the service holds, and to the unit's value again once the process has ended."""
    pid = gateway.property("MainPID")
    gateway.run("systemctl set-property --runtime cc-gateway MemoryMax=2M MemorySwapMax=0")
    eventually(lambda: gateway.property("MainPID") != pid, RESTART_TIMEOUT, 0.2)
    gateway.run("systemctl set-property --runtime cc-gateway MemoryMax=1536M")


def kills(gateway: Gateway, report: Report) -> None:
    # Rust handles the first signal: it checks for a stack overflow, and restores the default action for the next
    # signal.
    killed(gateway, report, "SIGSEGV", lambda pid: gateway.run(f"kill -SEGV {pid}; sleep 1; kill -SEGV {pid}"), "signal", RESTART_TIMEOUT)
    killed(gateway, report, "stuck (SIGSTOP): the watchdog", lambda pid: gateway.run(f"kill -STOP {pid}"), "watchdog",
           WATCHDOG + 2 * RESTART_TIMEOUT)
    killed(gateway, report, "more memory needed than MemoryMax", lambda _: exhaust_memory(gateway), "oom-kill", 3 * RESTART_TIMEOUT)


def polls(gateway: Gateway, count: int) -> tuple[list, list[str], list[threading.Thread]]:
    """`count` polls that wait. The result code of each is added to the second list."""
    agents = [gateway.agent(INSPECTORS[-1 - nth]) for nth in range(count)]
    answers: list[str] = []

    def wait(agent) -> None:
        try:
            answers.append(agent.poll()["retcode"])
        except NoAnswer as error:
            answers.append(str(error))

    for agent in agents:
        agent.sign_in(5)
        for _ in range(2):
            agent.poll()
    threads = [threading.Thread(target=wait, args=[agent], daemon=True) for agent in agents]
    for thread in threads:
        thread.start()
    return agents, answers, threads


def under_load(gateway: Gateway, report: Report, name: str, action: Callable[[], object], replaced: bool) -> None:
    """Carries out `action` while the service sends videos and polls wait. All downloads and polls have to succeed."""
    with report.scenario(name) as row:
        pid = gateway.property("MainPID")
        downloads, _ = slow_downloads(gateway, 16)
        waiting, answers, threads = polls(gateway, 4)
        begun = time.monotonic()
        action()
        took = time.monotonic() - begun
        for thread in threads:
            thread.join(60)
        for download in downloads:
            download.wait()
        bad = [str(download) for download in downloads if download.end != "complete" or download.is_wrong]
        row.check(not bad, f"downloads: {bad}")
        row.check(answers == ["0"] * len(waiting), f"polls: {answers}")
        row.client = (f"{len(downloads) - len(bad)} of {len(downloads)} downloads complete, "
                      f"{answers.count('0')} of {len(waiting)} polls answered")
        row.check((gateway.property("MainPID") != pid) == replaced, "another process serves" if not replaced else "the same process serves")
        row.recovery = f"done in {took:.0f} s"
        row.check(eventually(gateway.is_serving, RESTART_TIMEOUT) is not None, "it does not serve")
        for agent in waiting:
            agent.hang_up()


def replacements(gateway: Gateway, report: Report) -> None:
    agents = "/etc/cc-gateway/agents.properties"
    under_load(gateway, report, "reload with downloads and polls running",
               lambda: gateway.run(f"echo '2098 = no-password' >>{agents} && systemctl reload cc-gateway"), replaced=False)
    for name, command in (("restart", "systemctl restart cc-gateway"), ("upgrade", "dpkg -i /root/cc-gateway_*.deb")):
        under_load(gateway, report, f"{name} with downloads and polls running", lambda: gateway.run(command), replaced=True)  # noqa: B023


def stop_cuts(gateway: Gateway, report: Report) -> None:
    with report.scenario("stop, with downloads that take longer than DRAIN_TIMEOUT") as row:
        gateway.set("DRAIN_TIMEOUT", "3000")
        gateway.run("systemctl restart cc-gateway")
        since = gateway.cursor()
        downloads, _ = slow_downloads(gateway, 4)
        begun = time.monotonic()
        gateway.run("systemctl stop cc-gateway")
        took = time.monotonic() - begun
        for download in downloads:
            download.wait()
        row.check(all(download.end == "cut" and not download.is_wrong for download in downloads), f"{[str(d) for d in downloads]}")
        row.check(gateway.property("Result") == "success", f"result: {gateway.property('Result')}")
        row.check(took < 20, f"the stop takes {took:.0f} s")
        last = gateway.messages(since)
        row.check(any("downloads cut: 4" in line for line in last), f"the log does not count them: {last[-2:]}")
        row.client = f"{len(downloads)} downloads cut without close_notify"
        row.recovery = f"stopped in {took:.0f} s"


def purge(gateway: Gateway, report: Report) -> None:
    with report.scenario("remove keeps the settings, purge deletes them") as row:
        gateway.run("systemctl start cc-gateway")
        gateway.run("dpkg -r cc-gateway")
        row.check(not gateway.is_serving(), "it serves after remove")
        row.check(gateway.run(f"grep -c '^{AGENT} = ' /etc/cc-gateway/agents.properties").strip() == "1", "the agents are gone")
        gateway.run(f"dpkg -i /root/{gateway.deb.name} && systemctl start cc-gateway")
        use(gateway, row)
        gateway.run("dpkg -P cc-gateway")
        row.check(gateway.run("ls -d /etc/cc-gateway 2>/dev/null || true") == "", "/etc/cc-gateway is not deleted")
        units = gateway.run("ls /etc/systemd/system/multi-user.target.wants /usr/lib/systemd/system")
        row.check("cc-gateway" not in units, "its unit is not deleted")
        row.check(not gateway.is_serving(), "it serves after purge")
        row.check(not (denials := gateway.denials("cc-gateway")), f"denied in one of the scenarios: {denials}")
