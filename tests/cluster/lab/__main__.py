"""`make faults`: every fault, with the connections and times that the promises speak of; a table, JSON and a page."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator

import uvloop

from tests.cluster.lab import report, runner
from tests.cluster.lab.cluster import Cluster, Unsupported
from tests.cluster.lab.runner import Result, Scenario, Size
from tests.cluster.lab.scenarios import BY_NAME
from tests.process import readable

BOUND_S = 32 * 60
"""The whole takes so long at most; what is left then is not run, and the run counts as failed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.lab", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"scenarios; all without a name: {', '.join(BY_NAME)}")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200, help="messages a second")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--short", action="store_true", help="faults as short as in `make test`")
    parser.add_argument("--to", type=pathlib.Path, default=pathlib.Path("build/faults"))
    parser.add_argument("--write", type=pathlib.Path, metavar="PAGE", help="put the table between the two marks of a page")
    given = parser.parse_args()
    unknown = set(given.names) - set(BY_NAME)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    size = Size(given.connections, given.rate, 10, long=not given.short)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        results, complete = loop.run(_all(given.names or list(BY_NAME), size, given.seed))
    given.to.mkdir(parents=True, exist_ok=True)
    report.write(given.to, results)
    if given.write:
        given.write.write_text(report.write_into(given.write.read_text(), report.markdown(results)))
    print(f"\n{report.table(results)}\n\nThe page is {given.to / 'report.html'}, the figures are in {given.to / 'report.json'}.")
    return 0 if complete and not any(result.violations or result.over for result in results) else 1


async def _all(names: list[str], size: Size, seed: int) -> tuple[list[Result], bool]:
    results: list[Result] = []
    complete = True
    deadline_s = time.monotonic() + BOUND_S
    with tempfile.TemporaryDirectory(prefix="roomwire-faults-") as folder:
        async with Cluster(readable(pathlib.Path(folder))).open() as cluster:
            for name in names:
                if time.monotonic() > deadline_s:
                    print(f"{name} is left out: {BOUND_S / 60:.0f} minutes are over", file=sys.stderr)
                    return results, False
                began_s = time.monotonic()
                print(f"{name} (seed {seed}) ...", end=" ", flush=True)
                try:
                    async with _place(cluster, BY_NAME[name]) as place:
                        result = await runner.run(place, BY_NAME[name], size, seed)
                except Unsupported as why:
                    print(f"not run: {why}", flush=True)
                    continue
                except Exception:  # noqa: BLE001 - shown, and the run counts as failed
                    # What was measured before is not lost with it.
                    traceback.print_exc()
                    complete = False
                    continue
                results.append(result)
                print(f"{time.monotonic() - began_s:.0f} s, {report.verdict(result)}", flush=True)
                for violation in result.violations[:5]:
                    print(f"    {violation.kind}: {violation.text}", flush=True)
    return results, complete


@contextlib.asynccontextmanager
async def _place(cluster: Cluster, scenario: Scenario) -> AsyncIterator[Cluster]:
    """Where a scenario runs: the nodes of all, or its own."""
    if not scenario.settings:
        yield cluster
        return
    with tempfile.TemporaryDirectory(prefix="roomwire-faults-") as folder:
        async with Cluster(readable(pathlib.Path(folder)), **scenario.settings).open() as own:
            yield own


if __name__ == "__main__":
    sys.exit(main())
