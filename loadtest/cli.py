"""The command line: one scenario, the whole comparison, or a report of what was measured before."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import pathlib
import random
import sys
from typing import TYPE_CHECKING, Any

from loadtest import bench
from loadtest.client.swarm import ClientFailed
from loadtest.measure.process import pin
from loadtest.peers.base import Unavailable
from loadtest.peers.names import PEERS
from loadtest.peers.ours import Elsewhere, Roomwire
from loadtest.peers.rest import RestFailed
from loadtest.report import html, markdown, terminal
from loadtest.report.model import Run
from loadtest.report.progress import Bars
from loadtest.scenarios import names
from loadtest.scenarios.context import Context
from loadtest.scenarios.names import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.peers.base import Peer

_PROCESSES = max(1, (os.cpu_count() or 2) - 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 for any violation, 2 where nothing could be measured."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        status: int = given.do(given)
    except (Unavailable, ClientFailed, RestFailed, markdown.NoPlace) as failure:
        print(failure, file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, scenario in SCENARIOS.items():
        text = (inspect.getmodule(scenario) or scenario).__doc__ or ""
        one = commands.add_parser(name, help=text.partition("\n")[0], description=text)
        one.set_defaults(do=_scenario, scenario=name)
        _shared(one)
        for parameter in inspect.signature(scenario).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY:
                flag = f"--{parameter.name.replace('_', '-')}"
                one.add_argument(flag, type=type(parameter.default), default=parameter.default, help="(default: %(default)s)")
    _bench_and_report(commands)
    return parser


def _bench_and_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    whole = commands.add_parser("bench", help="everything, on every server that can be had here")
    whole.set_defaults(do=_bench)
    whole.add_argument("--quick", action="store_true", help="ours and Node alone, less of everything")
    whole.add_argument("--peers", help="names of servers, joined by commas")
    whole.add_argument("--repetitions", type=int, help="of what is compared")
    whole.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(".bench"), help="folder for the reports (default: %(default)s)"
    )
    whole.add_argument("--processes", type=int, default=_PROCESSES, help="client processes")
    whole.add_argument("--seed", type=int, help="for arrivals and choices; printed with the report")
    again = commands.add_parser("report", help="write reports of what was measured before")
    again.set_defaults(do=_report)
    again.add_argument("runs", type=pathlib.Path, nargs="+", help="JSON that a run wrote; several are put together")
    again.add_argument("--html", type=pathlib.Path, help="write a page")
    again.add_argument("--write", type=pathlib.Path, help="put the tables between the marks of this page of the documentation")


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peer",
        choices=PEERS,
        type=lambda name: "roomwire" if name == "realtime" else name,
        default="roomwire",
        help="which server to start and measure",
    )
    parser.add_argument("--url", help="measure a Roomwire server that runs already, on this machine's loopback")
    parser.add_argument("--pid", type=int, help="its process, for CPU and memory")
    parser.add_argument(
        "--server", action="append", default=[], metavar="FLAG=VALUE", help="a flag for `roomwire serve`, without dashes"
    )
    parser.add_argument("--processes", type=int, default=_PROCESSES, help="client processes (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=4, help="accounts that the connections share")
    parser.add_argument("--seed", type=int, default=None, help="for arrivals and choices; printed with the report")
    parser.add_argument("--pin", action="store_true", help="keep the server on the first core and the clients on the last")
    parser.add_argument("--json", type=pathlib.Path, help="write the result as JSON")
    parser.add_argument("--html", type=pathlib.Path, help="write the result as a page")


def _scenario(given: argparse.Namespace) -> int:
    own = [one.name for one in inspect.signature(SCENARIOS[given.scenario]).parameters.values() if one.kind is one.KEYWORD_ONLY]
    parameters: dict[str, Any] = {name: getattr(given, name) for name in own}
    seed = _seed(given)
    run = bench.new_run(seed)
    bars = Bars(1)
    peer = _peer(given)
    if given.scenario not in peer.can:
        raise Unavailable(f"{peer.name} has nothing to measure in {given.scenario!r}")
    peer.install()
    with bars.shown():
        bars.begin(f"{given.scenario}: {peer.name}")
        with peer:
            core = None
            if given.pin and peer.pid is not None and (os.cpu_count() or 1) > 1:
                pin(peer.pid, 0)
                core = (os.cpu_count() or 2) - 1
            context = Context(peer, bars, given.processes, seed, core, given.accounts)
            run.results.append(names.run(given.scenario, context, parameters))
        bars.end()
    terminal.show(run, bars.console)
    if given.json is not None:
        given.json.write_text(run.to_json())
    if given.html is not None:
        given.html.write_text(html.page(run))
    return 1 if run.failed else 0


def _bench(given: argparse.Namespace) -> int:
    plan = bench.QUICK if given.quick else bench.FULL
    if given.peers:
        unknown = set(given.peers.split(",")) - set(PEERS)
        if unknown:
            raise Unavailable(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
        plan = dataclasses.replace(plan, peers=tuple(given.peers.split(",")))
    if given.repetitions:
        plan = dataclasses.replace(plan, repetitions=given.repetitions)
    run = bench.new_run(_seed(given))
    bars = Bars(1)
    with bars.shown():
        installed = bench.install(run, plan.peers, bars)
        bars.steps(bench.steps_of(plan, installed))
        try:
            bench.measure(run, plan, installed, bars, given.processes)
        finally:
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / "bench.json").write_text(run.to_json())
    terminal.compare(run, bars.console)
    (given.out / "bench.html").write_text(html.page(run))
    bars.console.print(
        f"{given.out / 'bench.html'} shows it as plots; {given.out / 'bench.json'} has every number.", highlight=False
    )
    return 1 if run.failed else 0


def _report(given: argparse.Namespace) -> int:
    runs = [Run.from_json(path.read_text()) for path in given.runs]
    run = runs[0]
    for other in runs[1:]:
        run.results += other.results
        run.absent |= other.absent
    terminal.compare(run, Bars(1).console)
    if given.html is not None:
        given.html.write_text(html.page(run))
    if given.write is not None:
        given.write.write_text(markdown.write_into(given.write.read_text(), markdown.tables(run)))
    return 1 if run.failed else 0


def _seed(given: argparse.Namespace) -> int:
    return random.SystemRandom().randrange(1 << 31) if given.seed is None else int(given.seed)


def _peer(given: argparse.Namespace) -> Peer:
    if given.url:
        return Elsewhere(given.url, given.pid)
    if given.peer == "roomwire":
        flags = dict(flag.partition("=")[::2] for flag in given.server)
        return Roomwire(flags)
    return PEERS[given.peer]()
