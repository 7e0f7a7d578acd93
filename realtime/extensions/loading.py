"""Finds the extensions that the settings name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from realtime.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.extensions.namespaces import Extensions


def load(names: Sequence[str], limit_bytes: int) -> Extensions | None:
    """Make the server of the extensions and have each of them register its namespaces; None when there are none.

    Args:
        names: `module:function`; each function is called with the server.
        limit_bytes: What may wait for the handlers of one client.

    Raises:
        ConfigError: one cannot be imported, wants the namespace `/`, or something that is not served.
    """
    if not names:
        return None
    # Here, since python-socketio's server costs 65 ms and 9 MiB: nodes without extensions go without.
    try:
        from realtime.extensions.namespaces import Extensions
    except ModuleNotFoundError as error:
        raise ConfigError(f"ROOMWIRE_EXTENSIONS needs the package {error.name}: install roomwire[extensions].") from error

    found = Extensions(limit_bytes, namespaces=[])
    for name in names:
        module, _, function = name.partition(":")
        try:
            register = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"ROOMWIRE_EXTENSIONS: {name} is not the module:function of an extension: {error}.") from error
        try:
            register(found)
        except NotImplementedError as error:
            raise ConfigError(f"ROOMWIRE_EXTENSIONS: {name} asks for what is not served: {error}.") from error
    found.settle()
    if "/" in found.handlers or "/" in found.namespace_handlers:
        raise ConfigError("ROOMWIRE_EXTENSIONS: the namespace `/` is the server's own; extensions register others.")
    return found
