"""JSON Schemas of the contract's structs, as both documents show them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Union

import msgspec

from realtime.wire.events import OtherEvent, RoomEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema: TypeAlias = dict[str, Any]

PREFIX = "#/components/schemas/"


def components(structs: Iterable[type[msgspec.Struct]], events: Iterable[type[RoomEvent]]) -> dict[str, Schema]:
    """Return the schemas of the structs and of all that they hold, by name.

    Requests may hold null where it is the default; answers leave such a field out instead, and so say their schemas.

    Args:
        structs: Whatever is to be there.
        events: Those of the registry of kinds: each is what `RoomEvent` may be.
    """
    one_of: Any = Union[tuple(events)]  # noqa: UP007 - known at run time alone
    wanted: list[Any] = [one_of, OtherEvent, *sorted(set(structs), key=lambda one: one.__name__)]
    [any_event, *_], found = msgspec.json.schema_components(wanted, ref_template=PREFIX + "{name}")
    if RoomEvent.__name__ in found:
        found[RoomEvent.__name__] = {"title": RoomEvent.__name__, "description": "An event of any kind.", **any_event}
        found[RoomEvent.__name__]["anyOf"] = [*any_event["anyOf"], reference(OtherEvent)]
    known = [str(one.__struct_config__.tag) for one in events]
    found[OtherEvent.__name__]["properties"]["kind"]["not"] = {"enum": known}
    return {name: schema if is_request(schema) else _without_nulls(schema) for name, schema in sorted(found.items())}


def reference(struct: type[msgspec.Struct]) -> Schema:
    return {"$ref": PREFIX + struct.__name__}


def is_request(schema: Schema) -> bool:
    """Tell whether unknown fields are refused, which is what makes a request (`wire.types.Request`)."""
    return schema.get("additionalProperties") is False


def without_null(schema: Schema) -> Schema:
    """Return the schema of a field that may be left out, without the null that stands for leaving it out."""
    if "anyOf" not in schema or "default" not in schema or schema["default"] is not None:
        return schema
    choices = [one for one in schema["anyOf"] if one.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**choices[0], **rest} if len(choices) == 1 else {"anyOf": choices, **rest}


def _without_nulls(schema: Schema) -> Schema:
    if "properties" not in schema:
        return schema
    return {**schema, "properties": {name: without_null(one) for name, one in schema["properties"].items()}}
