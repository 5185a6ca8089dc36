"""Runs in a gateway's machine: makes clients slow, by handing on what they get at so many bytes a second.

    relay.py PORT BYTES_A_SECOND

A client beside the machine cannot be slow by itself: what it does not read is taken by the network card's emulation, in
megabytes. /run/pace may have a number by which everybody's speed is multiplied; with 0 nobody is slow.
"""

import contextlib
import socket
import sys
import threading
import time

GATEWAY = ("127.0.0.1", 8043)
# Of both sockets, so that the gateway sees how little is taken.
BUFFER = 16384


class Rate:
    """By what the speed of everybody is multiplied now."""

    factor = 1.0

    def follow(self) -> None:
        while True:
            try:
                with open("/run/pace") as file:
                    self.factor = float(file.read())
            except (OSError, ValueError):
                # It is not there, or just being written.
                pass
            time.sleep(0.3)


CURRENT_RATE = Rate()


def hand_on(source: socket.socket, sink: socket.socket, rate: int) -> None:
    """One direction, to its end. However the source ends, the sink sees the end of the bytes, and TLS how it was meant."""
    due = time.monotonic()
    with contextlib.suppress(OSError):
        while some := source.recv(8192):
            sink.sendall(some)
            if speed := rate * CURRENT_RATE.factor:
                now = time.monotonic()
                # Nothing but half a second is caught up with after a pause.
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
