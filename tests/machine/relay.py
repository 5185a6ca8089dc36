"""Runs in a gateway's machine: a relay that makes clients slow, by limiting the rate of what they get.

    relay.py PORT BYTES_A_SECOND

A client outside the machine cannot be slow by itself: the emulated network card buffers megabytes that it does not
read. /run/pace may contain a number by which the rate of every client is multiplied; 0 is without limit.
"""

import contextlib
import socket
import sys
import threading
import time

GATEWAY = ("127.0.0.1", 8043)
# The buffers of both sockets are small, so that the gateway notices the low rate.
BUFFER = 16384


class Rate:
    """The factor by which the rate of every client is multiplied now."""

    factor = 1.0

    def follow(self) -> None:
        while True:
            try:
                with open("/run/pace") as file:
                    self.factor = float(file.read())
            except (OSError, ValueError):
                # The file does not exist, or is being written.
                pass
            time.sleep(0.3)


CURRENT_RATE = Rate()


def hand_on(source: socket.socket, sink: socket.socket, rate: int) -> None:
    """Forwards one direction to its end. The sink sees a FIN even after a reset; close_notify shows the difference."""
    due = time.monotonic()
    with contextlib.suppress(OSError):
        while some := source.recv(8192):
            sink.sendall(some)
            if speed := rate * CURRENT_RATE.factor:
                now = time.monotonic()
                # After a pause, at most half a second is caught up.
                due = max(due, now - 0.5) + len(some) / speed
                time.sleep(max(0.0, due - now))
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def serve(client: socket.socket, rate: int) -> None:
    gateway = socket.socket()
    gateway.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    with client, gateway:
        try:
            gateway.connect(GATEWAY)
        except OSError:
            return
        requests = threading.Thread(target=hand_on, args=[client, gateway, 0])
        requests.start()
        hand_on(gateway, client, rate)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        requests.join()


def main() -> None:
    port, rate = map(int, sys.argv[1:])
    threading.Thread(target=CURRENT_RATE.follow, daemon=True).start()
    with socket.create_server(("", port), backlog=100) as listener:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            threading.Thread(target=serve, args=[client, rate], daemon=True).start()


if __name__ == "__main__":
    main()
