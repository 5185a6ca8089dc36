"""Runs in a gateway's machine: makes clients slow, by handing on what they get at so many bytes a second.

    relay.py PORT BYTES_A_SECOND

A client beside the machine cannot be slow by itself: what it does not read is taken by the network card's emulation, in
megabytes. While /run/hurry exists nobody is slow.
"""

import contextlib
import os
import socket
import sys
import threading
import time

GATEWAY = ("127.0.0.1", 8043)
# Of both sockets, so that the gateway sees how little is taken.
BUFFER = 16384


def hand_on(source: socket.socket, sink: socket.socket, rate: int) -> None:
    """One direction, to its end. However the source ends, the sink sees the end of the bytes, and TLS how it was meant."""
    begun, passed = time.monotonic(), 0
    with contextlib.suppress(OSError):
        while some := source.recv(8192):
            sink.sendall(some)
            passed += len(some)
            if rate and not os.path.exists("/run/hurry"):
                # Nothing is caught up with after a pause.
                begun = max(begun, time.monotonic() - passed / rate - 0.5)
                time.sleep(max(0.0, begun + passed / rate - time.monotonic()))
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
    with socket.create_server(("", port), backlog=100) as listener:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            threading.Thread(target=serve, args=[client, rate], daemon=True).start()


if __name__ == "__main__":
    main()
