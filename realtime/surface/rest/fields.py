"""Schemas for people: the fields of an object as a table, and each type in words. Pure."""

from __future__ import annotations

from typing import Any

from realtime.surface.rest.markup import Child, Html, join, prose, slug, table, tag
from realtime.wire.rest import MAX_SEQ

HEADINGS = ["Field", "Type", "Meaning"]


def name_of(reference: dict[str, Any]) -> str:
    """Return the name of the schema that a `$ref` points to."""
    name: str = reference["$ref"].rpartition("/")[2]
    return name


def anchor(name: str) -> str:
    return f"object-{slug(name)}"


def of(schema: dict[str, Any]) -> Html:
    """Write an object as a table of its fields, and an enumeration as its values."""
    if "enum" in schema:
        return tag("p", kind(schema))
    properties = schema.get("properties", {})
    if not properties:
        return tag("p", "No fields.", class_="note")
    required = schema.get("required", [])
    return table(HEADINGS, [row(name, one, name in required) for name, one in properties.items()])


def row(name: str, schema: dict[str, Any], required: bool) -> list[Child]:
    """Write one field."""
    meaning = [schema[key] for key in ("description",) if key in schema] or _described(schema)
    said = " ".join(meaning)
    notes = [text for text in (_bounds(schema, said), _default(schema)) if text]
    return [
        join(tag("code", name), None if required else tag("span", "optional", class_="optional")),
        kind(schema),
        join(*(prose(one + " ") for one in meaning), tag("span", " · ".join(notes), class_="bounds") if notes else None),
    ]


def kind(schema: dict[str, Any]) -> Html:
    """Say what kind of value it is, with links to objects."""
    if "$ref" in schema:
        name = name_of(schema)
        return tag("a", name, href=f"#{anchor(name)}")
    if "anyOf" in schema:
        return _either([kind(one) for one in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return _either([tag("code", str(one).lower() if isinstance(one, bool) else str(one)) for one in values])
    if schema.get("type") == "array":
        return join("list of ", kind(schema["items"]))
    if schema.get("format") == "date-time":
        return join("time")
    return join(schema.get("type", "any JSON"))


def _either(choices: list[Html]) -> Html:
    """Join with commas and `or`."""
    if len(choices) == 1:
        return choices[0]
    return join(*(item for one in choices[:-2] for item in (one, ", ")), choices[-2], " or ", choices[-1])


def _described(schema: dict[str, Any]) -> list[str]:
    """The description of the one kind of value that a field holds, where the field itself has none."""
    inner = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return [one["description"] for one in inner if "description" in one][:1]


def _bounds(schema: dict[str, Any], said: str) -> str | None:
    """Say how long or large it may be, unless that was said already."""
    plain = next((one for one in schema.get("anyOf", []) if one.get("type") != "null"), schema)
    for low, high, unit in (
        ("minLength", "maxLength", "characters"),
        ("minimum", "maximum", ""),
        ("minItems", "maxItems", "items"),
    ):
        least, most = plain.get(low), plain.get(high)
        if most == MAX_SEQ:
            most = None  # no bound that anybody meets
        if most is not None and f"{most:,}" in said:
            return None
        if least is not None and most is not None:
            return f"{least:,}–{most:,} {unit}".strip()
        if most is not None:
            return f"at most {most:,} {unit}".strip()
        if least is not None:
            return f"at least {least:,} {unit}".strip()
    return None


def _default(schema: dict[str, Any]) -> str | None:
    default = schema.get("default")
    if default is None or default == []:
        return None
    return f"default {str(default).lower() if isinstance(default, bool) else default}"
