#!/usr/bin/env python3
"""An automount daemon for one directory (Linux, linux/auto_fs.h, protocol 5, direct map), run as root by tests.

Usage: autofs.py DIRECTORY SOURCE. Commands on stdin, one a line: `serve` and `fail` say what the next request to mount
gets, `expire` unmounts what has been unused for longer than the timeout, `echo` is answered once all before it has been
said. On stdout: `ready` at first, `asked` for each request to mount, `expired` or `busy` for each `expire`, `echo` for
each `echo`. Ends with its stdin.
"""

import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import threading

READY, FAIL, SET_TIMEOUT, EXPIRE = 0x9360, 0x9361, 0xC0089364, 0x40049366
MISSING_DIRECT, EXPIRE_DIRECT = 5, 6
PACKET = struct.Struct("iiIIQIIIII256s")
# Longer than the gateway's pause between two probes, so that probes that look into the directory keep it mounted.
TIMEOUT_SECONDS = 4

directory, source = sys.argv[1:]
os.setpgrp()
libc = ctypes.CDLL(None, use_errno=True)
serving = True


def mount(what, kind, flags, options):
    if libc.mount(what, directory.encode(), kind, flags, options) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def say(word):
    print(word, flush=True)


def answer(packets, root):
    while packet := os.read(packets, PACKET.size):
        _, kind, token, *_ = PACKET.unpack(packet)
        done = True
        if kind == MISSING_DIRECT:
            say("asked")
            done = serving
            if serving:
                mount(source.encode(), None, 4096, None)  # MS_BIND
        elif kind == EXPIRE_DIRECT:
            done = subprocess.run(["umount", directory], check=False).returncode == 0
        fcntl.ioctl(root, READY if done else FAIL, token)


packets, requests = os.pipe()
options = f"fd={requests},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
mount(b"cc-gateway-test", b"autofs", 0, options.encode())
os.close(requests)
root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
fcntl.ioctl(root, SET_TIMEOUT, struct.pack("L", TIMEOUT_SECONDS))
threading.Thread(target=answer, args=(packets, root), daemon=True).start()
say("ready")
for line in sys.stdin:
    if line.strip() == "expire":
        try:
            fcntl.ioctl(root, EXPIRE, struct.pack("i", 0))
            say("expired")
        except OSError:
            say("busy")
    elif line.strip() == "echo":
        say("echo")
    else:
        serving = line.strip() == "serve"
