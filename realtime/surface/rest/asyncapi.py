"""The AsyncAPI 3.0 document, made from the table of operations and what the server emits. Pure.

It describes the server: it *receives* requests and answers them with an ack, and it *sends* events. One Socket.IO namespace
is one channel; an event's name is its message.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from realtime import __version__
from realtime.operations import by_event
from realtime.surface.rest import schemas
from realtime.wire import events, socket
from realtime.wire.types import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import msgspec

    from realtime.log.kinds import Kinds
    from realtime.operations import Row

ABOUT = """\
Live events and requests over Socket.IO (Engine.IO 4, path `/socket.io/`, namespace `/`), for the official clients.

Every request carries an ack: `{ok: true, …}`, or `{ok: false, error: {code, message, retryable, retry_after_ms?}}`. Requests
of one connection are taken in the order in which they came. A live connection receives a room's events in `seq` order without
gap or repeat, or `room.reset`. Unknown fields are refused in requests; clients ignore unknown fields in events."""
CONNECT = """\
Connect with `auth: {token}`, the access token, never in the URL. The server then emits `ready`. A refusal is a CONNECT_ERROR
packet, on which clients raise `connect_error`; its `data` is an Error."""
CHANNEL, ACKS = "namespace", "acks"
CONNECT_NAME, CONNECT_ERROR_NAME, REFUSED = "connect", "connect_error", "refused"
OTHER = "emitted_other"


def document(rows: Iterable[Row], kinds: Kinds) -> dict[str, Any]:
    """Return the document.

    Args:
        rows: All operations; those that are not asked for over the socket are passed over.
        kinds: All kinds of events.
    """
    every_emitted: dict[str, type[msgspec.Struct]] = {**socket.EMITTED, **kinds.structs}
    requests = by_event(rows)
    acks = {name: row.socket.ack for name, row in requests.items() if row.socket is not None}
    structs: list[type[msgspec.Struct]] = [socket.ConnectAuth, Error, socket.Refused, *acks.values(), *every_emitted.values()]
    structs += [row.request for row in requests.values()]
    messages: dict[str, Any] = {
        CONNECT_NAME: _message(CONNECT_NAME, "The payload of the CONNECT packet.", socket.ConnectAuth),
        CONNECT_ERROR_NAME: _message(CONNECT_ERROR_NAME, "The `data` of the CONNECT_ERROR packet.", Error),
    }
    for name, row in requests.items():
        messages[_request_key(name)] = _message(name, _about(row.request) or row.summary, row.request)
        messages[_ack_key(name)] = _message(f"{name} (ack)", _about(acks[name]), acks[name])
    messages[REFUSED] = _message("refused (ack)", _about(socket.Refused), socket.Refused)
    for name, emitted in every_emitted.items():
        messages[_emitted_key(name)] = _message(name, _about(emitted), emitted)
    messages[OTHER] = _message("other", _about(events.OtherEvent), events.OtherEvent)
    ack_keys = [*(_ack_key(name) for name in requests), REFUSED]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Roomwire", "version": __version__, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "node": {
                "host": "{host}",
                "pathname": "{base}/socket.io/",
                "protocol": "ws",
                "description": "Any node, or the load balancer before them; `wss` behind TLS.",
                "variables": {
                    "host": {"default": "127.0.0.1:8000", "description": "Host and port."},
                    "base": {"default": "", "description": "The path below which a proxy serves Roomwire, such as `/chat`."},
                },
            }
        },
        "channels": {
            CHANNEL: {
                "address": "/",
                "title": "The namespace",
                "messages": {key: _component(key) for key in messages if key not in ack_keys},
            },
            ACKS: {
                "address": None,
                "title": "Acks",
                "description": "Socket.IO ACK packets: each answers the request whose packet id it carries.",
                "messages": {key: _component(key) for key in ack_keys},
            },
        },
        "operations": _operations(requests, every_emitted),
        "components": {"schemas": _plain(schemas.components(structs, kinds.structs.values())), "messages": messages},
    }


def _operations(requests: Mapping[str, Row], every_emitted: Mapping[str, type[msgspec.Struct]]) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{CHANNEL}"}
    operations: dict[str, Any] = {
        CONNECT_NAME: {
            "action": "receive",
            "channel": channel,
            "summary": "Open a connection.",
            "description": CONNECT,
            "messages": [_of(CHANNEL, CONNECT_NAME)],
            "reply": {
                "channel": channel,
                "messages": [_of(CHANNEL, _emitted_key("ready")), _of(CHANNEL, CONNECT_ERROR_NAME)],
            },
        }
    }
    for name, row in requests.items():
        operations[_request_key(name)] = {
            "action": "receive",
            "channel": channel,
            "summary": _about(row.request) or row.summary,
            "messages": [_of(CHANNEL, _request_key(name))],
            "reply": {
                "channel": {"$ref": f"#/channels/{ACKS}"},
                "messages": [_of(ACKS, _ack_key(name)), _of(ACKS, REFUSED)],
            },
        }
    for name, emitted in every_emitted.items():
        operations[_emitted_key(name)] = {
            "action": "send",
            "channel": channel,
            "summary": _about(emitted) or f"Emit `{name}`.",
            "messages": [_of(CHANNEL, _emitted_key(name))],
        }
    operations[OTHER] = {
        "action": "send",
        "channel": channel,
        "summary": "Emit an event of a newer release.",
        "description": "Its name is its kind. Servers of two releases run side by side in every upgrade.",
        "messages": [_of(CHANNEL, OTHER)],
    }
    return operations


def _plain(schema: Any) -> Any:
    """Leave out `discriminator`, which means something else in AsyncAPI; the events' `kind` tells them apart anyway."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "discriminator"}
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema


def _message(name: str, summary: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    message = {"name": name, "summary": summary, "payload": schemas.reference(struct)}
    return {key: value for key, value in message.items() if value}


def _about(struct: type[msgspec.Struct]) -> str:
    return inspect.cleandoc(struct.__dict__.get("__doc__") or "")


# Some names go both ways (`signal`), and keys may hold no dots here.


def _request_key(name: str) -> str:
    return "request_" + name.replace(".", "_")


def _ack_key(name: str) -> str:
    return "ack_" + name.replace(".", "_")


def _emitted_key(name: str) -> str:
    return "emitted_" + name.replace(".", "_")


def _component(key: str) -> dict[str, str]:
    return {"$ref": f"#/components/messages/{key}"}


def _of(channel: str, key: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{key}"}
