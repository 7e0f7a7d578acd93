"""A process of the sandbox: it reads a task, runs its function, writes the answer, and so on until its owner hangs up.

Run by its path, and nothing of the server with it: 30 ms of CPU until it greets and 5 MiB of its own, where the server's modules
would cost 1 s and 76 MiB (decision 044). So it does without `typing`, too.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from realtime.sandbox.frames import Request, Status


def main() -> None:
    """Serve one socket; the arguments are its descriptor, the owner's process, bytes of memory, and where modules are found."""
    fd, parent, memory_bytes = map(int, sys.argv[1:4])
    sys.path += sys.argv[4].split(os.pathsep)
    from realtime.sandbox import confinement, frames

    functions: dict[str, Callable[[bytes], bytes]] = {}
    confined = confinement.confine(parent, memory_bytes)
    with open(fd, "rb") as asked, open(fd, "wb", buffering=0, closefd=False) as answers:
        answers.write(frames.hello(confined))
        while head := asked.read(frames.REQUEST_BYTES):
            request = frames.read_request(head)
            confinement.limit_cpu(request.cpu_s)
            status, body = _carry_out(functions, asked, request)
            left = memoryview(frames.answer(request.id, status, body))
            while left:
                left = left[answers.write(left) :]
            if status is frames.Status.MEMORY:
                return  # its memory is in pieces


def _carry_out(functions: dict[str, Callable[[bytes], bytes]], asked: BinaryIO, request: Request) -> tuple[Status, bytes]:
    from realtime.sandbox.frames import Garbled, Status

    try:
        name, data = asked.read(request.name_bytes).decode(), asked.read(request.data_bytes)
    except MemoryError:
        return Status.MEMORY, b""
    if len(data) < request.data_bytes:
        raise Garbled
    try:
        function = functions.get(name)
        if function is None:
            function = functions[name] = _find(name)
        body = bytes(function(data))
    except MemoryError:
        return Status.MEMORY, b""
    except ValueError:
        return Status.REFUSED, b""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return Status.FAILED, type(error).__name__.encode()[:64]
    if len(body) > request.answer_bytes:
        return Status.LARGE, b""
    return Status.OK, body


def _find(name: str) -> Callable[[bytes], bytes]:
    module, _, function = name.partition(":")
    __import__(module)
    found: Callable[[bytes], bytes] = getattr(sys.modules[module], function)
    return found


if __name__ == "__main__":
    main()
