"""The filter of system calls refuses what it lists, and lets everything else pass."""

from __future__ import annotations

import struct

import pytest

from realtime.sandbox import seccomp

ALLOWED, REFUSED, KILLED = "allowed", "refused", "killed"
ANSWERS = {0x7FFF_0000: ALLOWED, 0x0005_0001: REFUSED, 0x8000_0000: KILLED}
ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}


def outcome(program: bytes, arch: int, number: int, argument: int = 0) -> str:
    """Carry the filter out, as the kernel does."""
    steps = list(struct.iter_unpack("=HBBI", program))
    words = struct.unpack("=6I", struct.pack("=IIQQ", number, arch, 0, argument))
    at, value = 0, 0
    while True:
        code, then, otherwise, operand = steps[at]
        at += 1
        if code == 0x20:
            value = words[operand // 4]
        elif code == 0x15:
            at += then if value == operand else otherwise
        elif code == 0x35:
            at += then if value >= operand else otherwise
        else:
            assert code == 0x06
            return ANSWERS[operand]


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_what_is_listed_is_refused_and_nothing_else(machine: str, column: int) -> None:
    program, arch = seccomp.program(machine), ARCH[machine]
    listed = {one[column] for one in seccomp._FORBIDDEN.values()}
    for number in range(500):
        assert outcome(program, arch, number) == (REFUSED if number in listed else ALLOWED), number


@pytest.mark.parametrize(("machine", "prlimit"), [("x86_64", 302), ("aarch64", 261)])
def test_limits_are_those_of_the_process_itself(machine: str, prlimit: int) -> None:
    program, arch = seccomp.program(machine), ARCH[machine]
    assert outcome(program, arch, prlimit, 0) == ALLOWED
    assert outcome(program, arch, prlimit, 4321) == REFUSED


def test_other_sets_of_numbers_are_no_way_round_it() -> None:
    assert outcome(seccomp.program("x86_64"), ARCH["x86_64"], 0x4000_0000 | 41) == REFUSED
    assert outcome(seccomp.program("x86_64"), 0x4000_0003, 359) == KILLED, "calls of 32 bits"
    assert outcome(seccomp.program("aarch64"), ARCH["x86_64"], 0) == KILLED


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert seccomp.program("riscv64") == b""
