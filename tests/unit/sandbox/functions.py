"""Functions that tests run in the sandbox: good ones, and what foreign bytes can make of one."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import stat
import sys
import threading
import time


def echo(data: bytes) -> bytes:
    return data


def pid(_data: bytes) -> bytes:
    return str(os.getpid()).encode()


def refuse(_data: bytes) -> bytes:
    raise ValueError("s3cret")


def fail(_data: bytes) -> bytes:
    raise KeyError("s3cret")


def odd_failure(_data: bytes) -> bytes:
    raise type("s3cret\n!", (Exception,), {})()


def leave(_data: bytes) -> bytes:
    sys.exit(0)


def abort(_data: bytes) -> bytes:
    os.abort()


def segfault(_data: bytes) -> bytes:
    ctypes.string_at(0)
    return b""


def fill_memory(_data: bytes) -> bytes:
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def fill_memory_at_once(_data: bytes) -> bytes:
    return bytes(bytearray(1 << 40))


def loop(_data: bytes) -> bytes:
    while True:
        pass


def hold_the_interpreter(_data: bytes) -> bytes:
    """One call of C that never gives the lock back."""
    return str(re.match(rb"(a+)+b", b"a" * 64)).encode()


def hold_the_interpreter_a_while(_data: bytes) -> bytes:
    re.match(rb"(a+)+b", b"a" * 20)
    return b"done"


def sleep(data: bytes) -> bytes:
    time.sleep(float(data))
    return b"awake"


def zeros(data: bytes) -> bytes:
    return bytes(int(data))


def descriptors() -> dict[int, int]:
    """Return the open ones, with their kinds."""
    found = {}
    for fd in range(1024):
        try:
            found[fd] = os.fstat(fd).st_mode
        except OSError:
            continue
    return found


def the_socket() -> int:
    return next(fd for fd, mode in descriptors().items() if stat.S_ISSOCK(mode))


def write_garbage(data: bytes) -> bytes:
    os.write(the_socket(), data)
    time.sleep(60)
    return b""


def answer_twice(data: bytes) -> bytes:
    os.write(the_socket(), bytes(8) + b"\0\0\0\0\4evil")
    return data


def hang_up(_data: bytes) -> bytes:
    os.close(the_socket())
    time.sleep(60)
    return b""


def compress_json(data: bytes) -> bytes:
    """Import C extensions, of Python and of others, only now."""
    import zlib

    import msgspec

    return zlib.compress(msgspec.json.encode(msgspec.json.decode(data)))


def surroundings(_data: bytes) -> bytes:
    """Say what this process has: a line each."""
    limits = {name: resource.getrlimit(getattr(resource, name))[0] for name in dir(resource) if name.startswith("RLIMIT_")}
    found = {
        "environment": sorted(os.environ),
        "descriptors": len(descriptors()),
        "modules": sorted(sys.modules),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "group": os.getpgid(0) == os.getpid(),
        "limits": limits,
        "folder": os.getcwd(),
    }
    return repr(found).encode()


def connect(data: bytes) -> bytes:
    import socket

    host, port = data.decode().split(" ")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        return type(error).__name__.encode()
    return b"connected"


def disturb(data: bytes) -> bytes:
    """Do to another process what only its user may."""
    other, said = int(data), []
    for harm in (
        lambda: os.kill(other, 0),
        lambda: os.setpriority(os.PRIO_PROCESS, other, 19),
        lambda: os.sched_setaffinity(other, {0}),
        lambda: resource.prlimit(other, resource.RLIMIT_NOFILE),
        lambda: os.pidfd_open(other),
        lambda: os.execv("/bin/true", ["true"]),
        os.fork,
        lambda: threading.Thread(target=int).start(),
    ):
        try:
            harm()
        except (OSError, RuntimeError):
            continue
        said.append(str(harm))
    return repr(said).encode()


def write(data: bytes) -> bytes:
    try:
        with open(data, "wb") as file:
            file.write(b"x")
    except OSError as error:
        return type(error).__name__.encode()
    return b"written"


def read(data: bytes) -> bytes:
    try:
        with open(data, "rb") as file:
            return file.read()
    except OSError as error:
        return type(error).__name__.encode()
