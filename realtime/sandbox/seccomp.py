"""System calls that a process of the sandbox does without: no socket, no other process, nobody else's limits (seccomp). Pure.

A list of what is forbidden, not of what is allowed: decoders of pictures use whatever allocates, maps and reads. The numbers are
those of the kernel's tables for the two machines that servers have.
"""

from __future__ import annotations

import struct

_MACHINES = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}  # column below, AUDIT_ARCH
_X32 = 0x4000_0000  # the second set of numbers of x86_64
_FORBIDDEN = {
    # No way out. Without a new socket there is nothing to connect; io_uring would make one past this filter.
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # No other program, process or thread.
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    # Nothing to processes of the same user, which the server is.
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Parts of the kernel that are reached by nobody else here, and were its weak ones.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_PRLIMIT = (302, 261)  # of this process alone
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF, linux/bpf_common.h
_NR_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # struct seccomp_data
_ALLOW, _KILL, _REFUSE = 0x7FFF_0000, 0x8000_0000, 0x0005_0001  # SECCOMP_RET_*; refused with EPERM


def program(machine: str) -> bytes:
    """Return the filter for a machine, as `os.uname` names it; empty: there is none for it."""
    if machine not in _MACHINES:
        return b""
    column, arch = _MACHINES[machine]
    forbidden = [number for one in _FORBIDDEN.values() if (number := one[column]) is not None]
    tests = [(_JUMP_IF_EQUAL, number) for number in forbidden]
    if machine == "x86_64":
        tests.insert(0, (_JUMP_IF_AT_LEAST, _X32))
    end = [
        _step(_JUMP_IF_EQUAL, _PRLIMIT[column], otherwise=2),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        _step(_JUMP_IF_EQUAL, 0, otherwise=1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _REFUSE),
    ]
    steps = [
        _step(_LOAD, _ARCH_AT),
        _step(_JUMP_IF_EQUAL, arch, then=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NR_AT),
        *(_step(code, number, then=len(tests) - at + len(end) - 2) for at, (code, number) in enumerate(tests)),
        *end,
    ]
    return b"".join(steps)


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
