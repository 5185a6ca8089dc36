"""Runs in a gateway's machine: prints each second what /health, /metrics and the kernel say of the service, as JSON.

It runs there because /metrics is only for clients on loopback, and threads and descriptors are counted in /proc.
"""

import http.client
import json
import os
import re
import ssl
import subprocess
import time

PREFIX = "/agentgateway/resource"


def main_pid() -> int:
    shown = subprocess.run(["systemctl", "show", "-P", "MainPID", "cc-gateway"], capture_output=True, text=True, check=False)
    return int(shown.stdout.strip() or 0)


def connect() -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile="/etc/cc-gateway/certificate.pem")
    context.check_hostname = False
    return http.client.HTTPSConnection("127.0.0.1", 8043, timeout=10, context=context)


def get(connection: http.client.HTTPSConnection, path: str) -> tuple[int, str]:
    connection.request("GET", PREFIX + path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def look(connection: http.client.HTTPSConnection, pid: int) -> dict:
    begun = time.monotonic()
    health, _ = get(connection, "/health")
    took = time.monotonic() - begun
    _, metrics = get(connection, "/metrics")

    def of_mounts(name: str) -> dict[str, int]:
        return {directory: int(value) for directory, value in re.findall(rf'^{name}{{directory="(.*)"}} (\d+)$', metrics, re.MULTILINE)}

    return {
        "health": health,
        "took": took,
        "up": of_mounts("cc_gateway_mount_up"),
        "hung": of_mounts("cc_gateway_mount_hung_threads"),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
    }


def main() -> None:
    connection, pid, left = None, 0, 0
    while True:
        begun = time.monotonic()
        try:
            # The gateway accepts a thousand requests on a connection; a round makes two.
            if connection is None or left == 0:
                connection, pid, left = connect(), main_pid(), 400
            left -= 1
            seen = look(connection, pid)
        except (OSError, http.client.HTTPException, ValueError):
            connection, seen = None, {"health": 0, "took": 0, "up": {}, "hung": {}, "threads": 0, "files": 0}
        print(json.dumps(seen), flush=True)
        time.sleep(max(0.2, 1 - (time.monotonic() - begun)))


if __name__ == "__main__":
    main()
