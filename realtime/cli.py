"""The command line: `realtime serve | migrate | config`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import sys

from realtime import __version__, config
from realtime.engines import EngineError
from realtime.errors import RealtimeError


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 when it failed, 2 when it was asked wrongly."""
    parser = argparse.ArgumentParser(prog="realtime", description="A durable, ordered real-time backend.")
    parser.add_argument("--version", action="version", version=f"realtime {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "run one node"),
        ("migrate", "bring the database schema up to date and stop"),
        ("config", "print every setting with its meaning, unit, default and value"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        for one in dataclasses.fields(config.Config):
            command.add_argument("--" + one.name.replace("_", "-"), metavar=one.metadata["unit"] or "VALUE", help=_help(one))
    flags = vars(parser.parse_args(argv))
    command_name = flags.pop("command")
    try:
        settings = config.load(os.environ, flags)
        if command_name == "config":
            _print(settings)
            sys.stdout.flush()
            return 0
        return _run(command_name, settings)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `realtime config | head`: nobody reads on
        return 0
    except (config.ConfigError, EngineError) as error:
        print(f"realtime: {error}", file=sys.stderr)
        return 2
    except RealtimeError as error:
        print(f"realtime: {error.message}", file=sys.stderr)
        return 1


def _run(command: str, settings: config.Config) -> int:
    from realtime import app

    if command == "migrate":
        return asyncio.run(app.migrate(settings))
    return app.run(settings)


def _print(settings: config.Config) -> None:
    for variable, meaning, unit, default, value in config.describe(settings):
        print(f"{variable}={value}")
        print(f"    {meaning}{f' ({unit})' if unit else ''}; default: {default or '(empty)'}")


def _help(one: dataclasses.Field[object]) -> str:
    text: str = one.metadata["meaning"] + (f" ({one.metadata['unit']})" if one.metadata["unit"] else "")
    return (text + f"; default: {one.default}").replace("%", "%%")
