"""The file of master keys, under which the database's secrets are encrypted: read, checked, and made for the embedded engines.

Each line is a key of 32 random bytes in base64. The first one encrypts, all of them decrypt.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import stat
from typing import TYPE_CHECKING

from realtime.config import ConfigError, data_path
from realtime.store.wrapping import KEY_BYTES, MasterKey, MasterKeys

if TYPE_CHECKING:
    from realtime.config import Config

FILE = "master.key"
"""In the data directory. Not part of a back-up: whoever finds one cannot read its secrets."""
_MAX_KEYS = 16
_MAX_BYTES = 4096
_TOO_OPEN = stat.S_IWGRP | stat.S_IRWXO
"""Its group may read it: that is how Kubernetes and systemd hand a secret to a service that is not root."""
_MAKE = "`openssl rand -base64 32` makes one"


def load(config: Config) -> MasterKeys | None:
    """Read the master keys.

    With the embedded PostgreSQL and no file named, they are in the data directory, and the first one is made when there is none.

    Returns:
        None: secrets stay as they are in a PostgreSQL of one's own, since no file is named.

    Raises:
        ConfigError: the file cannot be used.
    """
    if config.master_key_file:
        return _read(pathlib.Path(config.master_key_file).expanduser())
    if config.database_url:
        return None
    path = data_path(config) / FILE
    if not path.exists():
        _make(path)
    return _read(path)


def _make(path: pathlib.Path) -> None:
    """Write a new key. Of several processes at once one wins, and what is there is whole, whenever the power fails."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"The master key file {path} cannot be made: {error.strerror}.") from error


def _read(path: pathlib.Path) -> MasterKeys:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would be waited for
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"The master key file {path} is no regular file.")
            if found.st_mode & _TOO_OPEN:
                raise ConfigError(f"The master key file {path} may be read by others: `chmod 600 {path}`.")
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"The master key file {path} cannot be read: {error.strerror}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"The master key file {path} is empty: it holds a key of 32 random bytes in base64; {_MAKE}.")
    if len(text) > _MAX_BYTES or len(lines) > _MAX_KEYS:
        raise ConfigError(f"The master key file {path} is too long: it holds one key a line, {_MAX_KEYS} at most.")
    keys = [_key(path, number, line) for number, line in enumerate(lines, 1)]
    if len({key.id for key in keys}) < len(keys):
        raise ConfigError(f"The master key file {path} holds a key twice.")
    return MasterKeys(keys)


def _key(path: pathlib.Path, number: int, line: bytes) -> MasterKey:
    try:
        return MasterKey(base64.b64decode(line, validate=True))
    except ValueError:
        raise ConfigError(
            f"Line {number} of the master key file {path} is no key of 32 random bytes in base64; {_MAKE}."
        ) from None  # its cause may quote the line
