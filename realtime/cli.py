"""The command line: `roomwire serve | migrate | config | admin | keys | backup | restore`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import pathlib
import signal
import sys

from realtime import __version__, config

logger = logging.getLogger(__name__)

ADMIN_ACTIONS = {
    "list": "list the administrators of the server",
    "show": "show one account",
    "grant": "make a user an administrator",
    "revoke": "take the rights of an administrator away",
    "disable": "revoke all sessions of an account and refuse sign-ins",
    "enable": "allow sign-ins again",
    "sign-out": "revoke all sessions of an account",
    "reset-password": "print a password that works once, and revoke all sessions of the account",
}
KEYS_ACTIONS = {
    "status": "show the master keys and what they encrypt; never a secret",
    "rotate": "encrypt all secrets anew with the first master key, and keep none in plain",
    "reset": "make a new signing key in place of all there are; clients refresh their tokens",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 when it failed, 2 when it was asked wrongly."""
    parser = argparse.ArgumentParser(prog="roomwire", description="A durable, ordered real-time backend.")
    parser.add_argument("--version", action="version", version=f"roomwire {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "run one node, or several on one port (--workers)"),
        ("migrate", "bring the database schema up to date and stop"),
        ("config", "print every setting with its meaning, unit, default and value"),
        ("admin", "manage accounts: administrators, disabled accounts, lost passwords; also while the server runs"),
        ("keys", "manage the master keys that encrypt the database's secrets; also while the server runs"),
        ("backup", "write the database to a new file; also while the server runs"),
        ("restore", "restore a back-up into an empty database, with all nodes stopped"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        if name == "admin":
            _add_actions(command, "ACTION [USERNAME]", ADMIN_ACTIONS)
            command.add_argument("username", nargs="?", metavar="USERNAME", help="whose account; not for `list`")
        if name == "keys":
            _add_actions(command, "ACTION", KEYS_ACTIONS)
        if name in ("backup", "restore"):
            command.usage = f"roomwire {name} FILE [SETTINGS]"
            command.add_argument("file", metavar="FILE", type=pathlib.Path, help="the back-up")
        if name == "restore":
            command.add_argument("--replace", action="store_true", help="give up what the database holds")
        values = command.add_argument_group("settings")
        for one in dataclasses.fields(config.Config):
            values.add_argument("--" + one.name.replace("_", "-"), metavar=one.metadata["unit"] or "VALUE", help=_help(one))
    flags = vars(parser.parse_args(argv))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command has its own: no traceback amid the imports
    command_name, action, username = flags.pop("command"), flags.pop("action", ""), flags.pop("username", None)
    file, replace = flags.pop("file", None), flags.pop("replace", False)
    if command_name == "admin" and action != "list" and not username:
        parser.error(f"roomwire admin {action} needs a username")
    try:
        settings = config.load(os.environ, flags)
        _say_renamed(settings)
        if command_name == "config":
            _print(settings)
            sys.stdout.flush()
            return 0
        if command_name == "admin":
            return _administer(settings, action, username or "")
        if command_name == "keys":
            return _keys(settings, action)
        if file is not None:
            return _copy(command_name, settings, file, replace)
        return _run(command_name, settings)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `roomwire config | head`: nobody reads on
        return 0
    except config.ConfigError as error:
        print(f"roomwire: {error}", file=sys.stderr)
        return 2


def _say_renamed(settings: config.Config) -> None:
    if old := config.renamed(os.environ):
        from realtime.telemetry import logs

        logs.configure(settings.log_level, settings.log_format)
        pairs = ", ".join(f"{name} is now called {new}" for name, new in old.items())
        logger.warning("%s; the old name%s until 1.0", pairs, " works" if len(old) == 1 else "s work")


def _run(command: str, settings: config.Config) -> int:
    from realtime.node import serve, supervisor

    if command == "migrate":
        return serve.told(lambda: serve.migrate(settings))
    return serve.told(lambda: (supervisor.run if settings.workers > 1 else serve.run)(settings))


def _administer(settings: config.Config, action: str, username: str) -> int:
    from realtime.node import administer, serve

    return serve.told(lambda: asyncio.run(administer.run(settings, action, username)))


def _keys(settings: config.Config, action: str) -> int:
    from realtime.node import keys, serve

    return serve.told(lambda: asyncio.run(keys.run(settings, action)))


def _copy(command: str, settings: config.Config, file: pathlib.Path, replace: bool) -> int:
    from realtime.node import backup, serve

    if command == "backup":
        return serve.told(lambda: backup.backup(settings, file))
    return serve.told(lambda: backup.restore(settings, file, replace=replace))


def _add_actions(command: argparse.ArgumentParser, usage: str, actions: dict[str, str]) -> None:
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.usage = f"{command.prog} {usage} [SETTINGS]"
    listed = "\n".join(f"  {name:16}{text}" for name, text in actions.items())
    command.description = f"{command.description}\n\nactions:\n{listed}"
    command.add_argument("action", choices=actions, metavar="ACTION", help="one of the actions above")


def _print(settings: config.Config) -> None:
    for variable, meaning, unit, default, value in config.describe(settings):
        print(f"{variable}={value}")
        print(f"    {meaning}{f' ({unit})' if unit else ''}; default: {default or '(empty)'}")


def _help(one: dataclasses.Field[object]) -> str:
    text: str = one.metadata["meaning"] + (f" ({one.metadata['unit']})" if one.metadata["unit"] else "")
    return (text + f"; default: {one.default}").replace("%", "%%")
