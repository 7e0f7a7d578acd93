"""Where the server listens: bound before anything else starts, so that a port in use is told at once."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any

from realtime.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVERYWHERE = ("", "*")
"""What stands for every address of the machine, IPv4 and IPv6."""
_NOT_HERE = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_TRIES = 20


@contextlib.contextmanager
def bound(host: str, port: int, *, share: bool = False) -> Iterator[list[socket.socket]]:
    """Hold a port: sockets that are bound to it on each address of a host, and do not listen yet.

    Args:
        host: An address, a name, or one of `EVERYWHERE`.
        port: 0: one that is free.
        share: Let other processes of ours listen there too (SO_REUSEPORT).

    Raises:
        ConfigError: one cannot listen there; it says why and which setting it is.
    """
    sockets: list[socket.socket] = []
    try:
        if share and port:
            # SO_REUSEPORT would let us in beside another server of the same user: this bind would not.
            for one in _bind(host, port, share=False):
                one.close()
        sockets = _bind(host, port, share=share)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def join(host: str, port: int) -> list[socket.socket]:
    """Bind to a port that another process of ours holds. Raises ConfigError."""
    return _bind(host, port, share=True)


def port_of(sockets: Sequence[socket.socket]) -> int:
    """Return the port that sockets are bound to."""
    return int(sockets[0].getsockname()[1])


def url(host: str, sockets: Sequence[socket.socket]) -> str:
    """Return where a browser on this machine finds the server."""
    if host in (*EVERYWHERE, "0.0.0.0", "::"):
        host = "127.0.0.1" if any(one.family == socket.AF_INET for one in sockets) else "::1"
    shown = f"[{host.replace('%', '%25')}]" if ":" in host else host  # RFC 6874
    return f"http://{shown}:{port_of(sockets)}"


def announcement(host: str, sockets: Sequence[socket.socket]) -> str:
    """Say where the server is."""
    families = [name for family, name in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6"))
                if any(one.family == family for one in sockets)]  # fmt: skip
    everywhere = host in (*EVERYWHERE, "0.0.0.0", "::")
    beside = f" and every {' and '.join(families)} address of this machine" if everywhere else ""
    return f"Roomwire is at {url(host, sockets)}{beside}  (stop with Ctrl-C)"


def _bind(host: str, port: int, *, share: bool) -> list[socket.socket]:
    for _ in range(_TRIES):
        try:
            return _bind_each(host, port, share=share)
        except OSError as error:
            # A free port of one address may be taken on the next one.
            if port or error.errno != errno.EADDRINUSE:
                raise cannot_listen(host, port, error) from error
    raise ConfigError(f"Cannot listen on {_shown(host, port)}: no port is free on all its addresses.")


def _bind_each(host: str, port: int, *, share: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                one = _bind_one(family, address, port, share=share)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # a machine without IPv6 has nothing to listen on there
            else:
                sockets.append(one)
                port = one.getsockname()[1]
        if not sockets:
            raise missing or OSError(errno.EADDRNOTAVAIL, "it has no address")
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    if host in EVERYWHERE:
        return [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port, 0, 0))]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind_one(family: int, address: Any, port: int, *, share: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address[0], port, *address[2:]))
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


def cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """Say why one cannot listen there."""
    if isinstance(error, socket.gaierror):
        why = f"{host!r} is not an address of this machine, nor a name of one ({error.strerror}). Check ROOMWIRE_HOST or --host"
    elif error.errno == errno.EADDRINUSE:
        why = "another program uses the port. Stop it, or choose another port with ROOMWIRE_PORT or --port"
    elif error.errno == errno.EACCES:
        why = "ports below 1024 are for root. Choose another port with ROOMWIRE_PORT or --port"
    elif error.errno in _NOT_HERE:
        why = "this machine has no such address. Check ROOMWIRE_HOST or --host (* is every address)"
    else:
        why = f"{error.strerror or error}. Check ROOMWIRE_HOST and ROOMWIRE_PORT"
    return ConfigError(f"Cannot listen on {_shown(host, port)}: {why}.")


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"
