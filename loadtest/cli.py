"""The command line: one scenario, the whole comparison, or a report of what was measured before."""

from __future__ import annotations

import argparse
import inspect
import os
import pathlib
import random
import shlex
import sys
from typing import TYPE_CHECKING, Any

from loadtest.client.swarm import ClientFailed
from loadtest.measure import machine
from loadtest.measure.process import pin
from loadtest.peers.base import Unavailable
from loadtest.peers.names import PEERS
from loadtest.peers.ours import Elsewhere, Realtime
from loadtest.report import terminal
from loadtest.report.model import Run
from loadtest.report.progress import Bars
from loadtest.scenarios.context import Context
from loadtest.scenarios.names import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.peers.base import Peer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 for any violation, 2 where nothing could be measured."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        status: int = given.do(given)
    except (Unavailable, ClientFailed) as failure:
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
    return parser


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", choices=PEERS, default="realtime", help="which server to start and measure")
    parser.add_argument("--url", help="measure a Realtime server that runs already, on this machine's loopback")
    parser.add_argument("--pid", type=int, help="its process, for CPU and memory")
    parser.add_argument(
        "--server", action="append", default=[], metavar="FLAG=VALUE", help="a flag for `realtime serve`, without dashes"
    )
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="client processes")
    parser.add_argument("--accounts", type=int, default=4, help="accounts that the connections share")
    parser.add_argument("--seed", type=int, default=None, help="for arrivals and choices; printed with the report")
    parser.add_argument("--pin", action="store_true", help="keep the server on the first core and the clients on the last")
    parser.add_argument("--json", type=pathlib.Path, help="write the result as JSON")


def _scenario(given: argparse.Namespace) -> int:
    scenario = SCENARIOS[given.scenario]
    names = [one.name for one in inspect.signature(scenario).parameters.values() if one.kind is one.KEYWORD_ONLY]
    parameters: dict[str, Any] = {name: getattr(given, name) for name in names}
    seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    run = Run(machine.describe(), "python -m loadtest " + shlex.join(sys.argv[1:]), seed)
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
            run.results.append(scenario(context, **parameters))
        bars.end()
    terminal.show(run, bars.console)
    if given.json is not None:
        given.json.write_text(run.to_json())
    return 1 if run.failed else 0


def _peer(given: argparse.Namespace) -> Peer:
    if given.url:
        return Elsewhere(given.url, given.pid)
    if given.peer == "realtime":
        flags = dict(flag.partition("=")[::2] for flag in given.server)
        return Realtime(flags)
    return PEERS[given.peer]()
