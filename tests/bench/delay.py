"""A path with delay, for kernels without netem: two TUN devices, one of them in a network namespace of its own, and a
process that carries packets between them and delays each by half of the round trip. Both ends use the kernel's own TCP,
with segments of 1500 bytes.

Run as a program, this file is that process: `delay.py NEAR FAR NAMESPACE SECONDS`.
"""

import collections
import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

# 198.18.0.0/15 is set aside for benchmarks (RFC 2544).
NEAR, FAR = "198.18.43.1", "198.18.43.2"
NAMESPACE = "cc-gateway-bench"
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


@contextlib.contextmanager
def path(round_trip):
    """The namespace from which NEAR is reached with this round trip. None, with a message, if it cannot be made."""
    command = [sys.executable, __file__, "bench-near", "bench-far", NAMESPACE, str(round_trip / 2)]
    with contextlib.ExitStack() as made:
        carrier = None
        try:
            run("ip", "netns", "add", NAMESPACE)
            made.callback(run, "ip", "netns", "del", NAMESPACE)
            carrier = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            made.callback(end, carrier)
            if carrier.stdout.readline() != b"ready\n":
                raise OSError(carrier.stderr.read().decode().strip())
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            print(f"  not measured, root and /dev/net/tun are needed: {said}", file=sys.stderr)
            carrier = None
        yield carrier and NAMESPACE


def run(*command):
    """Runs a command that has to succeed."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def end(carrier):
    """Ends the process that carries the packets; its devices go with it."""
    carrier.kill()
    carrier.wait()


def device(name):
    """A new TUN device."""
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return opened


def main():
    """Makes the devices and carries packets until the end of the input."""
    near_name, far_name, namespace, seconds = sys.argv[1:]
    seconds = float(seconds)
    near, far = device(near_name), device(far_name)
    inside = ("ip", "netns", "exec", namespace)
    run("ip", "link", "set", far_name, "netns", namespace)
    run("ip", "addr", "add", f"{NEAR}/30", "dev", near_name)
    run("ip", "link", "set", near_name, "txqueuelen", "20000", "up")
    run(*inside, "ip", "addr", "add", f"{FAR}/30", "dev", far_name)
    run(*inside, "ip", "link", "set", far_name, "txqueuelen", "20000", "up")
    print("ready", flush=True)
    carry({near: far, far: near}, seconds)


def carry(ends, seconds):
    """Carries packets from each end to the other one, delayed by `seconds`. A packet that an end does not accept is
    lost, as on a wire."""
    waiting = collections.deque()
    input_end = sys.stdin.fileno()
    while True:
        # Waits for other packets until the first one is due.
        timeout = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([*ends, input_end], [], [], timeout)
        if input_end in readable:
            return
        due = time.monotonic() + seconds
        for opened in readable:
            # A few at a time, so that the other direction has its turn.
            for _ in range(64):
                try:
                    waiting.append((due, ends[opened], os.read(opened, 65536)))
                except BlockingIOError:
                    break
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, to, packet = waiting.popleft()
            with contextlib.suppress(OSError):
                os.write(to, packet)


if __name__ == "__main__":
    main()
