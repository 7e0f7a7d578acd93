"""The floor: a loop of `send()` in C, compiled where there is a compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.peers import base
from loadtest.peers.base import Peer

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

_PROGRAM = base.ROOT / ".bench" / "floor"


class Floor(Peer):
    """What a fan-out costs when nothing but the system calls is done."""

    name = "C loop of send()"
    dialect = "raw"
    can = frozenset({"fanout"})

    def install(self) -> None:
        source = base.FOLDER / "floor.c"
        if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < source.stat().st_mtime:
            _PROGRAM.parent.mkdir(exist_ok=True)
            base.run(["cc", "-O2", "-Wall", "-Werror", "-o", str(_PROGRAM), str(source)], base.FOLDER, 60)
        self.version = base.run(["cc", "--version"], base.FOLDER, 10).splitlines()[0]

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        return [str(_PROGRAM), str(self.port)]
