"""`roomwire backup` and `roomwire restore`: PostgreSQL's own dump, from the embedded database or one's own.

A restore is one transaction: whatever interrupts it, the database is as it was before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from realtime.config import ConfigError
from realtime.node import keys, master_key, serve, starting
from realtime.node.engines import EngineError
from realtime.node.engines.postgres import programs
from realtime.store import copying, names
from realtime.store.provision import provision, roles
from realtime.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.config import Config
    from realtime.store.provision import Urls
    from realtime.store.wrapping import MasterKeys

_TLS = {"require", "verify-ca", "verify-full"}
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_CHUNK_BYTES = 1 << 20
_RIGHTS = re.compile(r"\d+; \d+ \d+ (?:DEFAULT )?ACL ")
"""Lines of a back-up's table of contents."""


def backup(config: Config, target: pathlib.Path) -> int:
    """Write the database, as it is at this moment, to a new file that nobody else may read; return the exit status.

    The server may run meanwhile: the dump reads a snapshot and holds up nobody.

    Raises:
        ConfigError: the file is there already or cannot be written, or PostgreSQL's programs do not fit or fail.
        CannotStart: PostgreSQL cannot be used.
    """
    logs.configure("warning", config.log_format)
    starting.stoppable()
    if target.exists():
        raise ConfigError(f"{target} is there already, and a back-up overwrites nothing: give it another name.")
    with serve.postgresql(config) as (superuser_url, running), _new(target) as partial:
        if superuser_url:
            urls = asyncio.run(roles(superuser_url) if running else provision(superuser_url))
        else:
            urls = serve.own_urls(config)
        found = asyncio.run(copying.look(urls.owner))
        if not found.relations:
            raise ConfigError("There is nothing to back up: the database is empty.")
        tools = _Programs(urls.owner, found.major, embedded=bool(superuser_url))
        # It writes the table of contents again at the end, where the data begins, which it cannot on standard output.
        tools.run("pg_dump", "--format=custom", "--no-password", f"--dbname={tools.url}", f"--file={partial}")
        tools.run("pg_restore", "--list", str(partial))  # it can be read
        size_bytes = partial.stat().st_size
    size = f"{size_bytes >> 10} KiB, of {found.size_bytes >> 20} MiB of database"
    print(f"Backed up to {target} ({size}). It holds secrets: keep it safe.")
    return 0


def restore(config: Config, source: pathlib.Path, *, replace: bool) -> int:
    """Restore a back-up into an empty database, or instead of what is there; return the exit status.

    Args:
        replace: Give up what the database holds.

    Raises:
        ConfigError: the file cannot be read, the database holds something, or nodes serve from it.
        CannotStart: PostgreSQL cannot be used.
    """
    logs.configure("warning", config.log_format)
    starting.stoppable()
    try:
        with source.open("rb") as file:
            if file.read(5) != b"PGDMP":
                raise ConfigError(f"{source} is not a back-up: `roomwire backup FILE` makes one.")
    except OSError as error:
        raise ConfigError(f"The back-up {source} cannot be read: {error.strerror}.") from error
    with serve.postgresql(config) as (superuser_url, running):
        if running:
            raise ConfigError(f"A server runs on the data directory {config.data_dir}: stop it before you restore.")
        urls = asyncio.run(provision(superuser_url)) if superuser_url else serve.own_urls(config)
        found = asyncio.run(copying.look(urls.owner))
        if found.nodes:
            raise ConfigError(f"Nodes serve from this database ({found.nodes} connections): stop them before you restore.")
        if found.relations and not replace:
            raise ConfigError("The database is not empty: --replace gives up what it holds. Back it up first.")
        master_keys = master_key.load(config)  # a file that cannot be used is said before anything is given up
        _Programs(urls.owner, found.major, embedded=bool(superuser_url)).restore(source, found.application)
        asyncio.run(_finish(config, superuser_url, urls, master_keys))
    print(f"Restored {source}. Clients that hold newer events are told to read again.")
    return 0


async def _finish(config: Config, superuser_url: str, urls: Urls, master_keys: MasterKeys | None) -> None:
    """Bring a back-up of an older release up to date; its epoch began with the restore all the same."""
    await serve.migrated(config, superuser_url)
    await copying.begin_epoch(urls.owner)
    if said := await keys.replaced_if_unreadable(urls.application, master_keys):
        print(said)


class _Programs:
    """PostgreSQL's client programs, of a version that fits the server.

    Args:
        url: Of the owner role.
        major: Version of the server.
        embedded: Whether it is the embedded one.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, url: str, major: int, *, embedded: bool) -> None:
        self.url, secrets = without_password(url)
        self._environment = {**os.environ, **secrets, "LC_ALL": "C"}
        tls = dict(parse_qsl(urlsplit(url).query)).get("sslmode", os.environ.get("PGSSLMODE", "")) in _TLS
        self._folder = self._find(major, embedded=embedded, tls=tls)

    @staticmethod
    def _find(major: int, *, embedded: bool, tls: bool) -> pathlib.Path:
        with contextlib.suppress(EngineError):
            if embedded:
                return programs()
        found = shutil.which("pg_dump")
        if found is not None and shutil.which("psql") and shutil.which("pg_restore") and _major(found) >= major:
            return pathlib.Path(found).parent
        with contextlib.suppress(EngineError):
            # Scripts of its pg_restore set what PostgreSQL before 17 does not know, and it has no TLS.
            if not tls and 17 <= major <= _major(str(programs() / "pg_dump")):
                return programs()
        raise ConfigError(
            f"This needs pg_dump, pg_restore and psql of PostgreSQL {major} or later{' with TLS' if tls else ''} in the PATH: "
            f"install the client programs (Debian: postgresql-client-{major})."
        )

    def run(self, name: str, *arguments: str) -> None:
        """Run one of them to its end. Raises ConfigError with its last words."""
        self._said(name, *arguments, failed=f"{name} failed")

    def _read(self, *arguments: str) -> str:
        return self._said("pg_restore", *arguments, failed="The back-up cannot be read whole, nothing was changed").decode()

    def _said(self, name: str, *arguments: str, failed: str) -> bytes:
        done = subprocess.run(
            [str(self._folder / name), *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=self._environment,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise ConfigError(f"{failed}: {_words(done.stderr, done.returncode)}.")
        return done.stdout

    def rights(self, source: pathlib.Path, role: str | None) -> bytes:
        """Return the statements of a back-up that grant, to the role of the database here: it may have had another there.

        Raises:
            ConfigError: the back-up cannot be read.
        """
        listed = self._read("--list", str(source)).splitlines(keepends=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="roomwire-") as chosen:
            chosen.writelines(line for line in listed if _RIGHTS.match(line))
            chosen.flush()
            sql = self._read("--no-owner", f"--use-list={chosen.name}", "--file=-", str(source))
        return names.granted_to(sql, role).encode()

    def restore(self, source: pathlib.Path, role: str | None) -> None:
        """Replace what the database holds by a back-up, in one transaction.

        Args:
            role: The application role here.

        Raises:
            ConfigError: it failed, and nothing was changed.
        """
        rights = self.rights(source, role)
        reading = subprocess.Popen(
            [str(self._folder / "pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(source)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self._environment,
        )  # fmt: skip
        options = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]
        writing = subprocess.Popen(
            [str(self._folder / "psql"), *options, f"--dbname={self.url}"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self._environment,
        )  # fmt: skip
        assert reading.stdout is not None and reading.stderr is not None and writing.stdin is not None  # they are pipes
        with reading, writing:
            try:
                with contextlib.suppress(BrokenPipeError):  # psql has ended, and says why
                    writing.stdin.write(b"BEGIN;\n" + copying.EMPTIED.encode())
                    shutil.copyfileobj(reading.stdout, writing.stdin, _CHUNK_BYTES)
                    if reading.wait() == 0:  # half a back-up must not be committed
                        writing.stdin.write(rights + copying.RESTORED.encode() + b"COMMIT;\n")
                _, said = writing.communicate()
                reading.stdout.close()  # where psql ended before it
                wrong = reading.stderr.read()
            except BaseException:
                writing.kill()
                reading.kill()
                raise
        if writing.returncode:
            raise ConfigError(f"PostgreSQL refused the back-up, nothing was changed: {_words(said, writing.returncode)}.")
        if reading.returncode:
            why = _words(wrong, reading.returncode)
            raise ConfigError(f"The back-up {source} cannot be read whole, nothing was changed: {why}.")


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL that may stand in a list of processes, and what libpq reads the password from."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True)
    password = unquote(password) or dict(query).get("password", "")
    kept = urlencode([(key, value) for key, value in query if key != "password"], safe="/:,")
    shown = urlunsplit(parts._replace(netloc=f"{name}@{hosts}" if name else hosts, query=kept))
    return shown, {"PGPASSWORD": password} if password else {}


@contextlib.contextmanager
def _new(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield an empty file beside a final place; it is there once it is whole and on the disk."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            yield partial
            os.fsync(file.fileno())
        os.link(partial, target)  # unlike a rename it overwrites nothing
    except OSError as error:
        raise ConfigError(f"The back-up {target} cannot be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = _VERSION.search(said)
    return int(found[1]) if found else 0


def _words(said: bytes, status: int) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    wrong = next(
        (line for line in lines if re.search(r"\b(error|ERROR|FATAL)\b", line)), lines[-1] if lines else f"status {status}"
    )
    return re.sub(r"^.*?(?:error|ERROR|FATAL):\s*", "", wrong).rstrip(".")
