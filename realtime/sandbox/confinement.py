"""What a process of the sandbox takes away from itself before it sees the first foreign byte.

Limits hold everywhere. Network and files are taken away where the kernel can (Linux); elsewhere the process says that it has
them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys

from realtime.sandbox import landlock, seccomp
from realtime.sandbox.frames import Confined

NICE = 10
OPEN_FILES = 64
EXIT_ORPHAN = 3
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38  # prctl(2)
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x2008_0522  # capset(2)


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("steps", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def confine(parent: int, memory_bytes: int) -> Confined:
    """Take away from this process what it does not need.

    Args:
        parent: The process that this one must not outlive.
        memory_bytes: What it may map.
    """
    os.nice(NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # when the machine's memory is full, this process goes before the server
    _limit(memory_bytes)
    if sys.platform != "linux":
        return Confined(0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capset((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())  # none, where we are root
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # After the credentials changed: the kernel may forget it then.
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHAN)  # it died before the kernel was told
    confined = Confined.FILES if landlock.take_files(libc) else Confined(0)
    code = seccomp.program(os.uname().machine)
    program = _Program(len(code) // 8, code)
    if code and libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0:
        confined |= Confined.NETWORK
    return confined


def _limit(memory_bytes: int) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),  # of root the kernel does not count them
    ):
        with contextlib.suppress(ValueError, OSError):  # already lower, or unknown to this system
            resource.setrlimit(kind, (value, value))


def limit_cpu(seconds: int) -> None:
    """End this process by SIGXCPU when it has used so many more seconds of CPU."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + 1 + seconds, hard))
