"""`make cluster`: PostgreSQL, Redis, three nodes and nginx on this machine, to play with; Ctrl-C stops and removes everything.

PostgreSQL and Redis are the embedded ones, supervised here and apart from the nodes; nginx is the system's.
"""

from __future__ import annotations

import asyncio
import base64
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

from realtime.config import without_settings
from realtime.node import engines
from realtime.store import migrate
from realtime.store.provision import Urls, provision

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parents[1]
NODES = ("a", "b", "c")
LISTEN = os.environ.get("LISTEN", "127.0.0.1:8000")
_MARK = "Roomwire is at http://"
_SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_SERVER = "        server {};\n"
_OWN = "    upstream roomwire_{0} {{ zone roomwire_{0} 64k; server {1}; keepalive 16; }}\n"
_OPTIONS = "max_fails=1 fail_timeout=5s"
_REDIRECT, _TLS = "    server {\n        listen 80 default_server;\n", "    server {\n        listen 443 ssl;\n"


def find(program: str) -> str | None:
    """Return where a program of the system is; Debian keeps servers out of the path of users."""
    return shutil.which(program, path=_SBIN)


def nginx_config(
    nodes: Sequence[str], listen: str, folder: pathlib.Path, tls: tuple[pathlib.Path, pathlib.Path] | None = None
) -> str:
    """Return `deploy/nginx.conf` for this machine: other addresses, files below a folder, and everything else as it stands.

    Args:
        nodes: Where they listen, as host:port.
        listen: Where nginx shall listen, as host:port.
        folder: For what nginx writes.
        tls: The certificate and its key; without them nginx speaks plain HTTP.

    Raises:
        ValueError: the file is not as this function knows it.
    """
    text = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
    start, _, rest = text.partition(_REDIRECT)
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = start + _TLS + rest.partition(_TLS)[2]
    for old, new in {
        "".join(_SERVER.format(f"node-{one}:8000 {_OPTIONS}") for one in NODES): "".join(
            _SERVER.format(f"{node} {_OPTIONS}") for node in nodes
        ),
        "".join(_OWN.format(one, f"node-{one}:8000") for one in NODES): "".join(
            _OWN.format(one, node) for one, node in zip(NODES, _all(nodes), strict=True)
        ),
        "listen 443 ssl;": f"listen {listen}{' ssl' if tls else ''};",
        "user www-data;\n": "",
        "pid /run/nginx.pid;": f"pid {folder}/nginx.pid;",
        "/var/log/nginx/": f"{folder}/",
        "    server_tokens off;\n": "    server_tokens off;\n" + temporary,
        "ssl_certificate /etc/nginx/tls/tls.crt;": f"ssl_certificate {tls[0]};" if tls else "",
        "ssl_certificate_key /etc/nginx/tls/tls.key;": f"ssl_certificate_key {tls[1]};" if tls else "",
    }.items():
        if old not in text:
            raise ValueError(f"deploy/nginx.conf has no {old!r}")
        text = text.replace(old, new)
    return text


def _all(nodes: Sequence[str]) -> list[str]:
    """Return an address for each name: of those who are not there, the first one's, where their sessions are unknown."""
    return [*nodes, *[nodes[0]] * (len(NODES) - len(nodes))]


class Program:
    """A program of the cluster, whose lines on standard error are shown behind its name.

    Args:
        mark: What its line begins with that says it is ready; empty: it needs none.
    """

    def __init__(self, name: str, command: Sequence[str], mark: str = "") -> None:
        self.name = name
        self.pid = 0
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._command = command
        self._mark = mark
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Run it until it ends."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; we tell the others
            preexec_fn=engines.die_with_parent(signal.SIGTERM),
            env=without_settings(os.environ),
        )  # fmt: skip
        self.pid = process.pid
        assert process.stderr is not None  # it is a pipe
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            if self._mark and line.startswith(self._mark) and not self.ready.done():
                self.ready.set_result(line.removeprefix(self._mark).split()[0])
            else:
                say(f"{self.name} | {line}")
        say(f"{self.name} ended with status {await process.wait()}")
        if self._mark and not self.ready.done():
            self.ready.set_exception(SystemExit(f"{self.name} did not start."))

    def stop(self) -> None:
        """Let it end as it should."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


async def serve(urls: Urls, redis_url: str, nginx: str, folder: pathlib.Path) -> None:
    """Run three nodes and nginx until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = folder / "master.key"
    key.touch(0o600)
    key.write_bytes(base64.b64encode(os.urandom(32)))
    programs = [
        Program(
            name,
            [sys.executable, "-m", "realtime", "serve", "--port", "0", "--node-id", name, "--database-url", urls.application,
             "--master-key-file", str(key), "--redis-url", redis_url,
             "--trusted-proxies", "127.0.0.1/32", "--log-format", "console"],
            _MARK,
        )
        for name in NODES
    ]  # fmt: skip
    tasks = [asyncio.create_task(one.run()) for one in programs]
    try:
        addresses = await asyncio.gather(*(one.ready for one in programs))
        config = folder / "nginx.conf"
        config.write_text(nginx_config(addresses, LISTEN, folder))
        proxy = Program("nginx", [nginx, "-e", "stderr", "-c", str(config), "-g", "daemon off;"])
        tasks.append(asyncio.create_task(proxy.run()))
        for one, address in zip(programs, addresses, strict=True):
            say(f"Node {one.name} is at http://{address}, process {one.pid}: kill it and see.")
        say(f"The cluster is at http://{LISTEN}  (stop with Ctrl-C); the access log is {folder}/access.log")
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, tasks[-1]], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        for one in programs:  # nginx goes on meanwhile, as in a real one
            one.stop()
        await asyncio.wait(tasks[:-1])
        proxy.stop()
    finally:
        for one in programs:
            one.stop()
        await asyncio.gather(*tasks, return_exceptions=True)


async def prepare(superuser_url: str) -> Urls:
    """Make the roles and the schema."""
    urls = await provision(superuser_url)
    await migrate.apply(urls.owner)
    return urls


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run the cluster; return the exit status."""
    nginx = find("nginx")
    if nginx is None:
        say("nginx is not here: install the nginx package, and run this again.")
        return 2
    with tempfile.TemporaryDirectory(prefix="roomwire-cluster-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o711)  # PostgreSQL runs as somebody else than root
        postgres, redis = engines.Postgres(folder), engines.Redis(folder)
        engines.start_all([postgres, redis])
        try:
            asyncio.run(serve(asyncio.run(prepare(postgres.dsn)), redis.url, nginx, folder))
        finally:
            engines.stop_all([postgres, redis])
    return 0


if __name__ == "__main__":
    sys.exit(main())
