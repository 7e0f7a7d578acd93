"""Write the pages of `docs/` that are made from the code: errors, settings, events, metrics. `make docs` runs it.

Each page is a plain function of the code that it describes; `tests/unit/test_generated_docs.py` fails when a page on disk
says something else.
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import msgspec

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs where the package is not installed

from realtime import config, errors  # noqa: E402 - after the path is set
from realtime.node.kinds import KINDS  # noqa: E402
from realtime.node.operations import OPERATIONS  # noqa: E402
from realtime.operations import by_event  # noqa: E402
from realtime.surface.rest import schemas  # noqa: E402
from realtime.telemetry.metrics import Metrics  # noqa: E402
from realtime.wire import rest, socket, types  # noqa: E402
from realtime.wire.events import RoomEvent  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DOCS = ROOT / "docs"
OBJECTS: tuple[type[msgspec.Struct], ...] = (
    types.Error, types.User, types.Room, socket.Limits, socket.RoomSince, socket.RoomRef, socket.SubscribedRoom,
    socket.PresenceOf, socket.RoomCount, types.OwnPresence,
)  # fmt: skip
NOTICE = "<!-- Made by tools/generate_docs.py from the code. Do not edit: change the code and run `make docs`. -->"
_BIGGEST = rest.MAX_SEQ  # a bound that nobody meets is not worth a word


def errors_page() -> str:
    """Return `errors.md`: every refusal, in the order of the error tree."""
    rows = [
        (f"`{one.code}`", str(one.status), "yes" if one.retryable else "no", _about(one, errors.RealtimeError), one.default)
        for one in errors.all_errors()
    ]
    table = _table(
        ("Code", "HTTP", "Retry helps", "What it says"),
        [(code, status, retry, " ".join(filter(None, (text, note)))) for code, status, retry, note, text in rows],
    )
    return _page(
        "Errors",
        "Every refusal has a stable `code`. Branch on the code, never on the text: texts may change, and some are more exact "
        "than the ones below.",
        "The same codes appear in three places:",
        "- over REST, as `application/problem+json` (RFC 9457) with the HTTP status of the table;\n"
        "- in the ack of a refused socket request, as `{ok: false, error: {…}}`;\n"
        "- in the `data` of a refused Socket.IO connection (`connect_error`), and per room in the ack of `room.subscribe`.",
        "*Retry helps* is the field `retryable`: the same request can succeed later. `retry_after_ms` (REST: the header "
        "`Retry-After` too, in whole seconds) says how long to wait, where that is known. `field` is the path of the field "
        "that does not fit, as `$.rooms[0].since`.",
        table,
        "What a client does about the codes of a closed connection is in [protocol.md](protocol.md#when-a-connection-ends).",
    )


def settings_page() -> str:
    """Return `settings.md`: every setting of `realtime.config`."""
    rows = []
    for one in dataclasses.fields(config.Config):
        facts = one.metadata
        default = str(one.default)
        rows.append(
            (
                f"`{config.PREFIX}{one.name.upper()}`",
                f"`--{one.name.replace('_', '-')}`",
                facts["meaning"] + (" (secret)" if facts["secret"] else ""),
                facts["unit"],
                f"`{default}`" if default else "empty",
                _range(facts),
            )
        )
    return _page(
        "Settings",
        "Every setting is an environment variable and a flag of `roomwire serve`, `roomwire migrate` and `roomwire config`; "
        "a flag wins. `roomwire config` prints each with its current value, with passwords in URLs hidden.",
        "A variable that begins with `ROOMWIRE_` and is no setting, or a value that does not fit, stops the start with one "
        "sentence and exit status 2. Settings are read once, at the start.",
        _table(("Variable", "Flag", "Meaning", "Unit", "Default", "Allowed"), rows),
        "What clients can see of these limits is told to each connection in `ready` ([events.md](events.md)).",
    )


def events_page() -> str:
    """Return `events.md`: what travels over the socket, and the objects in it."""
    requests = [_request(name, row.request, row.socket.ack) for name, row in by_event(OPERATIONS).items() if row.socket]
    room_events = [_emitted(name, struct) for name, struct in KINDS.structs.items()]
    others = [_emitted(name, struct) for name, struct in socket.EMITTED.items()]
    return _page(
        "Socket events",
        "The events of the Socket.IO namespace `/`, from the structs in `realtime/wire` and the registry of kinds. How they work "
        "together is in "
        "[protocol.md](protocol.md). A running server gives the same as AsyncAPI at `/api/asyncapi.json` and REST as OpenAPI "
        "at `/api/openapi.json`.",
        "Requests refuse fields that they do not know. Answers and events may gain fields: ignore what you do not know. "
        "Optional fields of answers and events are left out when they hold nothing.",
        "## Connecting",
        f"{_about(socket.ConnectAuth)} The official clients call it `auth`.",
        _fields(socket.ConnectAuth),
        "## Requests",
        "Each is answered by an ack, if the client asks for one. A refused request is answered by "
        "`{ok: false, error: Error}`; codes are in [errors.md](errors.md).",
        *requests,
        "## Events of rooms",
        "Numbered and stored. The object is the same live, in the ack of `room.subscribe` and from "
        "`GET /api/v1/rooms/{room}/events`. Its `kind` is the event's name.",
        *room_events,
        "## Other events",
        "Not numbered and not stored.",
        *others,
        "## Objects",
        *(f"### {one.__name__}\n\n{_about(one)}\n\n{_fields(one)}" for one in OBJECTS),
    )


def metrics_page() -> str:
    """Return `metrics.md`: everything that `/metrics` shows of a node."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels) or "–", one.meaning)
        for one in Metrics().catalogue
    ]
    return _page(
        "Metrics",
        "What `GET /metrics` shows, in the text format of Prometheus. Times are in seconds, sizes in bytes. A histogram has the "
        "samples `_bucket`, `_sum` and `_count`. Every label has few values: events and reasons of the contract, routes as "
        "templates, statuses; nothing that clients make up, no user and no room. What to do about the figures is in "
        "[monitoring.md](monitoring.md).",
        _table(("Metric", "Kind", "Labels", "Meaning"), rows),
        "Besides there are `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, "
        "`process_max_fds` and `process_start_time_seconds`, as every client of Prometheus has them (on Linux). With several "
        "workers each sample has the label `worker`.",
        "**Who may read them.** Requests with `ROOMWIRE_METRICS_TOKEN` as bearer token, and requests from the networks of "
        "`ROOMWIRE_METRICS_NETWORKS`. Without either setting nobody may. A request that came through a proxy which is not in "
        "`ROOMWIRE_TRUSTED_PROXIES` may come from anywhere and needs the token.",
    )


PAGES: dict[str, Callable[[], str]] = {
    "errors.md": errors_page,
    "settings.md": settings_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
}


def main() -> int:
    """Write every page that has changed; return the exit status."""
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote docs/{name}")
    return 0


# -- parts ----------------------------------------------------------------------------------------


def _request(name: str, request: type[msgspec.Struct], ack: type[msgspec.Struct]) -> str:
    ack_about = " ".join(filter(None, ("**Ack.**", _about(ack))))
    return f"### `{name}`\n\n{_about(request)}\n\n{_fields(request)}\n\n{ack_about}\n\n{_fields(ack)}"


def _emitted(name: str, struct: type[msgspec.Struct]) -> str:
    return f"### `{name}`\n\n{_about(struct)}\n\n{_fields(struct)}"


def _about(one: type, *bases: type) -> str:
    """Return the docstring of a class itself as one paragraph; those of `bases` are not its own."""
    text = one.__dict__.get("__doc__") or ""
    return "" if one in bases else " ".join(inspect.cleandoc(text).split())


def _fields(struct: type[msgspec.Struct]) -> str:
    """Return a table of the fields of a struct as they stand in its JSON Schema, those that are always there first."""
    schema = schemas.components([struct], KINDS.structs.values())[struct.__name__]
    always = {*schema.get("required", []), *_never_left_out(struct)}
    found = sorted(schema["properties"].items(), key=lambda item: item[0] not in always)
    head = ("Field", "Type", "Required" if schemas.is_request(schema) else "Always there", "Meaning")
    rows = [(f"`{name}`", _kind(one), "yes" if name in always else "no", _meaning(one)) for name, one in found]
    said = 4 if any(row[3] for row in rows) else 3  # a column that says nothing is left out
    return _table(head[:said], [row[:said] for row in rows])


def _never_left_out(struct: type[msgspec.Struct]) -> set[str]:
    """Name the fields whose default is made, and so shows: `omit_defaults` leaves out plain defaults and empty lists."""
    made = [one for one in msgspec.structs.fields(struct) if one.default_factory is not msgspec.NODEFAULT]
    return {one.encode_name for one in made if one.default_factory not in (list, dict, set)}


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(schemas.PREFIX)
        return _NAMED[name]  # KeyError: a struct that `OBJECTS` does not show yet
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{str(one).lower() if isinstance(one, bool) else one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        inner = schema["items"]
        return "list of events" if inner == schemas.reference(RoomEvent) else f"list of {_kind(inner)}"
    return "time" if schema.get("format") == "date-time" else str(schema.get("type", "any JSON"))


def _meaning(schema: dict[str, Any]) -> str:
    inner = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    said = schema.get("description") or next((one["description"] for one in inner if "description" in one), "")
    bounds = _bounds(next((one for one in schema.get("anyOf", []) if one.get("type") != "null"), schema), said)
    return " ".join(filter(None, (said, bounds)))


def _bounds(schema: dict[str, Any], said: str) -> str:
    for low, high, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minimum", "maximum", ""),
    ):
        least, most = schema.get(low), schema.get(high)
        if most is not None and most != _BIGGEST and f"{most:,}" not in said:
            return f"{least}–{most:,}{unit}." if least else f"At most {most:,}{unit}."
    return ""


_NAMED = {
    "Choice": "`online`, `away`, `dnd`, `invisible`",
    "Status": "`online`, `away`, `dnd`, `offline`",
    "Role": "`owner`, `admin`, `member`",
    "RoomKind": "`public`, `private`, `direct`",
    **{one.__name__: f"[{one.__name__}](#{one.__name__.lower()})" for one in OBJECTS},
}


def _range(facts: Any) -> str:
    low, high = facts["at_least"], facts["at_most"]
    if facts["choices"]:
        return ", ".join(f"`{one}`" for one in facts["choices"])
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((NOTICE, f"# {title}", *(part for part in parts if part))) + "\n"


if __name__ == "__main__":
    sys.exit(main())
