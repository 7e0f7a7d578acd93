"""`make upgrade`: three nodes of the release before become nodes of this one, one by one under load, and then again the reverse.

The release before is checked out into a folder of its own, with an environment of its own. Its database, with its names and its
schema, is the one that this release then migrates. Between each two steps people are removed and logged out through nodes of both
releases, and at the end the laboratory's checker reads what every client saw.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import uvloop

from tests.cluster.lab import report, runner
from tests.cluster.lab.cluster import Cluster
from tests.cluster.lab.runner import Run, Scenario, Size
from tests.cluster.lab.scenarios import revoke
from tests.process import Server, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parent.parent.parent
BEFORE = "22e5d7d"
"""The release before: 0.1.0."""
_INTERNAL = r'(?:realtime|roomwire)_requests_total\{[^}]*outcome="internal"[^}]*\}'
_PROVISION = "import asyncio, sys; from realtime.store.provision import provision; asyncio.run(provision(sys.argv[1]))"

_SETTINGS = "import dataclasses; from realtime.config import Config; print(*(one.name for one in dataclasses.fields(Config)))"


class OldServer(Server):
    """A server of the release before.

    Args:
        checkout: Its files, with an environment in `.venv`.
    """

    def __init__(self, checkout: pathlib.Path, **settings: object) -> None:
        super().__init__(**settings)
        self._checkout = checkout

    @property
    def command(self) -> Sequence[str]:
        # -P: what is imported is its own package, and not the one of the working directory.
        return [str(self._checkout / ".venv/bin/python"), "-P", "-m", "realtime"]


class Upgraded(Cluster):
    """A cluster whose nodes are of the release before, or of this one.

    Attributes:
        old: Which nodes are of the release before when they are started next.
        internal: Requests that nodes which have ended answered with `internal`.
        failures: Lines of theirs that say what a program did not expect.
    """

    name = "realtime"

    def __init__(self, folder: pathlib.Path, checkout: pathlib.Path, **settings: object) -> None:
        super().__init__(folder, **settings)  # type: ignore[arg-type]
        self.checkout = checkout
        self.old = [True] * self.count
        self._known: set[str] = set()  # settings of the release before
        self.internal = 0.0
        self.failures: list[str] = []

    async def _prepare(self) -> None:
        await asyncio.to_thread(self._ask_before, _PROVISION, self.postgres.dsn)
        self._known = set((await asyncio.to_thread(self._ask_before, _SETTINGS)).split())

    def _ask_before(self, program: str, *arguments: str) -> str:
        """Have the release before do something; return what it says."""
        command = [str(self.checkout / ".venv/bin/python"), "-P", "-c", program, *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def _program(self, index: int, settings: dict[str, object]) -> Server:
        if not self.old[index]:
            return Server(**settings)
        return OldServer(self.checkout, **{name: value for name, value in settings.items() if name in self._known})

    async def replace(self, index: int, *, old: bool) -> tuple[float, int]:
        """Stop a node as an operator does and start one of a release in its place; return how long it drained, and its status."""
        before = self.servers[index]
        self.internal = max(self.internal, await self.metric(_INTERNAL))
        began_s = time.monotonic()
        status = await before.end(signal.SIGTERM, within_s=40)
        drained_s = time.monotonic() - began_s
        self.note_failures(before)
        self.old[index] = old
        await self.start(index)
        return drained_s, status

    def note_failures(self, server: Server) -> None:
        """Keep what a server said of errors that nobody expected."""
        self.failures += [line for line in server.output if "Traceback" in line or "ERROR" in line or '"error"' in line]


async def upgrade(run: Run) -> None:
    """Replace all nodes, and take it back, with removals and log-outs while both releases run."""
    cluster = run.cluster
    assert isinstance(cluster, Upgraded)
    rooms = iter(run.rooms)
    for old in (False, True):
        for index in range(cluster.count):
            async with run.fault(f"n{index} {'back to the release before' if old else 'to this release'}"):
                drained_s, status = await cluster.replace(index, old=old)
                run.note("drain_s", drained_s)
                run.note("exit_status", status)
            await cluster.ready()
            await run.last(8, 2)
            if index < cluster.count - 1:  # both releases run
                await revoke(run, next(rooms), next(rooms), bound_s=1.0)
    for server in cluster.servers:
        cluster.note_failures(server)
    run.note("internal", max(cluster.internal, await cluster.metric(_INTERNAL)))
    run.note("failures", len(cluster.failures))
    for line in cluster.failures[:20]:
        print(line, file=sys.stderr)


UPGRADE = Scenario(
    "upgrade",
    "a rolling upgrade from the release before, and back",
    upgrade,
    {"exit_status": 0.0, "drain_s": 25.0, "internal": 0.0, "failures": 0.0, "failed_otherwise": 0.0},
)


def check_out(ref: str, folder: pathlib.Path) -> pathlib.Path:
    """Put the files of a release into a folder, with an environment of its own. Needs the package registry."""
    archive = subprocess.run(["git", "archive", ref], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    subprocess.run(["make", "-C", str(folder), ".venv/runtime.stamp"], env=environment, check=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.upgrade", description=__doc__)
    parser.add_argument("--from", dest="ref", default=BEFORE, help="tag or commit of the release before")
    parser.add_argument("--checkout", type=pathlib.Path, help="use this checkout of it, which has an environment in .venv")
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--rate", type=float, default=100, help="messages a second")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--to", type=pathlib.Path, default=pathlib.Path("build/upgrade"))
    given = parser.parse_args()
    size = Size(given.connections, given.rate, 6, long=not given.short)
    with tempfile.TemporaryDirectory(prefix="roomwire-upgrade-") as name:
        folder = readable(pathlib.Path(name))
        engines, checkout = folder / "e", folder / "old"
        for path in (engines, checkout):
            path.mkdir()
            path.chmod(0o755)
        checkout = given.checkout or check_out(given.ref, checkout)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            result = loop.run(_run(engines, checkout, size, given.seed))
    given.to.mkdir(parents=True, exist_ok=True)
    report.write(given.to, [result])
    print(report.table([result]))
    for name, value in sorted(result.figures.items()):
        print(f"{name} {value:.4g}")
    for violation in result.violations[:20]:
        print(f"{violation.kind}: {violation.text}", file=sys.stderr)
    print(f"over: {result.over}" if result.over else "every figure is within its limit")
    return 1 if result.violations or result.over else 0


async def _run(folder: pathlib.Path, checkout: pathlib.Path, size: Size, seed: int) -> runner.Result:
    async with Upgraded(folder, checkout).open() as cluster:
        return await runner.run(cluster, UPGRADE, size, seed)


if __name__ == "__main__":
    sys.exit(main())
