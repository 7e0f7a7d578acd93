"""Centrifugo with its engine in memory, built by the Go toolchain where there is one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from loadtest.peers import base
from loadtest.peers.base import Peer

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

_MODULE = "github.com/centrifugal/centrifugo/v6@v6.9.1"
_BUILD_S = 590.0
_CACHE = base.ROOT / ".bench" / "go"


class Centrifugo(Peer):
    """Anonymous clients that may subscribe and publish. Its ack of a publication is of its memory."""

    name = "Centrifugo"
    dialect = "centrifugo"

    def install(self) -> None:
        program = _CACHE / "centrifugo"
        if not program.exists():
            _CACHE.mkdir(parents=True, exist_ok=True)
            base.run(
                ["go", "install", _MODULE], _CACHE, _BUILD_S, os.environ | {"GOBIN": str(_CACHE), "GOFLAGS": "-buildvcs=false"}
            )
        self.version = "centrifugo " + _MODULE.rpartition("@v")[2]

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        config = folder / "config.json"
        config.write_text(
            json.dumps(
                {
                    "http_server": {"address": "127.0.0.1", "port": str(self.port)},
                    "client": {
                        "allow_anonymous_connect_without_token": True,
                        "allowed_origins": ["*"],
                        "connection_limit": 0,
                        "channel_limit": 100,
                    },
                    "channel": {
                        "without_namespace": {
                            "allow_subscribe_for_anonymous": True,
                            "allow_subscribe_for_client": True,
                            "allow_publish_for_anonymous": True,
                            "allow_publish_for_client": True,
                        }
                    },
                    "log": {"level": "warn"},
                }
            )
        )
        return [str(_CACHE / "centrifugo"), "--config", str(config)]
