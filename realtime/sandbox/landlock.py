"""Takes a process's files away (Landlock, Linux 5.13 and later): what is left is what Python imports modules from, to read.

So a process that was taken over reads neither the server's environment in /proc nor its keys, although it runs as the same user.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # a flag of _CREATE_RULESET
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_HANDLED_FS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files that a version knows, by the first one that does."""
_HANDLED_NET, _SCOPED = (4, 0b11), (6, 0b11)  # TCP; abstract sockets and signals
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_PACKAGES = ("site-packages", "dist-packages")
_MODULES = (".py", ".so")


def take_files(libc: ctypes.CDLL) -> bool:
    """Leave this process nothing but what modules are read from; False: the system cannot.

    It must not be able to gain privileges (PR_SET_NO_NEW_PRIVS).
    """
    libc.syscall.restype = ctypes.c_long
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    if version < 1:
        return False
    handled = max(rights for since, rights in _HANDLED_FS.items() if since <= version)
    ruleset = (ctypes.c_uint64 * 3)(handled, _since(_HANDLED_NET, version), _since(_SCOPED, version))
    size = 8 if version < 4 else 16 if version < 6 else 24
    fd = libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    if fd < 0:
        return False
    try:
        for path, rights in _readable():
            _allow(libc, fd, path, rights)
        return bool(libc.syscall(_RESTRICT_SELF, fd, 0) == 0)
    finally:
        os.close(fd)


def _since(rights: tuple[int, int], version: int) -> int:
    return rights[1] if version >= rights[0] else 0


def _readable() -> list[tuple[str, int]]:
    """Return paths and what may be done below them."""
    whole = _READ_FILE | _READ_DIR
    found = [(path, whole) for path in (*_LIBRARIES, os.path.dirname(os.__file__), os.path.join(sys.base_prefix, "lib"))]
    for path in sys.path:
        if os.path.basename(path) in _PACKAGES:
            found.append((path, whole))
            continue
        # A folder of a project: besides its packages it may hold anything, such as the data directory.
        found.append((path, _READ_DIR))
        try:
            entries = os.listdir(path)
        except OSError:
            continue
        for entry in entries:
            below = os.path.join(path, entry)
            if entry.endswith(_MODULES) or os.path.exists(os.path.join(below, "__init__.py")):
                found.append((below, whole))
    return found


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= ~_READ_DIR
    rule = ctypes.create_string_buffer(rights.to_bytes(8, sys.byteorder) + fd.to_bytes(4, sys.byteorder), 12)
    libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    os.close(fd)
