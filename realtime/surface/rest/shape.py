"""Where the fields of a request are in HTTP: the path names some, the query or the body has the others."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import errors
from realtime.wire.decode import invalid
from realtime.wire.rest import MAX_SEQ

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realtime.operations import Row

PREFIX = "/api/v1"
_IN_QUERY = frozenset({"GET", "DELETE"})


@dataclass(frozen=True, slots=True)
class Shape:
    """The parts of a request.

    Args:
        request: What they make up.
        path: The fields that the path names.
        query: The struct of the query; None: there is none.
        body: The struct of the body; None: there is none.
    """

    request: type[Any]
    path: tuple[str, ...]
    query: type[msgspec.Struct] | None
    body: type[msgspec.Struct] | None

    def reader(self) -> Callable[[Mapping[str, str], Any, Any], Any]:
        """Return what puts the decoded parts together.

        The function takes the path's values, the query and the body, and raises InvalidRequest. Ids in the path come as they
        are: the service that looks for one knows whether there is such a thing.
        """
        if not self.path:
            return (lambda _path, query, _body: query) if self.body is None else (lambda _path, _query, body: body)
        readers = [(name, _reader(self.request, name)) for name in self.path]
        request, in_query = self.request, self.body is None
        rest = tuple(one.name for one in msgspec.structs.fields(self.query or self.body or _Nothing))

        def read(path: Mapping[str, str], query: Any, body: Any) -> Any:
            found: dict[str, Any] = {name: convert(path[name]) for name, convert in readers}
            part = query if in_query else body
            try:
                return request(**found, **{name: getattr(part, name) for name in rest})
            except ValueError as error:  # a rule of the request (`wire.types.Request`)
                raise invalid(msgspec.ValidationError(str(error))) from error

        return read


class _Nothing(msgspec.Struct):
    pass


@functools.cache
def shape(row: Row) -> Shape:
    """Return where the fields of an operation's request are."""
    assert row.rest is not None
    names = tuple(part[1:-1] for part in row.rest.path.split("/") if part.startswith("{"))
    rest = [one for one in msgspec.structs.fields(row.request) if one.name not in names]
    in_query = row.rest.method in _IN_QUERY
    part = None
    if rest:
        part = row.request if not names else _part(row, rest)
    return Shape(row.request, names, part if in_query else None, None if in_query else part)


def _part(row: Row, fields: list[msgspec.structs.FieldInfo]) -> type[msgspec.Struct]:
    """Make the struct of what the path does not name: the operation's name, `CamelCase`, is its name in the documents."""
    name = "".join(word.capitalize() for word in row.name.split("_"))
    defined = [(one.name, one.type) if one.required else (one.name, one.type, _default(one)) for one in fields]
    about = {"__doc__": row.request.__dict__.get("__doc__")}
    return msgspec.defstruct(name, defined, namespace=about, frozen=True, forbid_unknown_fields=True, kw_only=True)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default


def _seq(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and 1 <= int(text) <= MAX_SEQ):
        raise errors.InvalidRequest("The seq in the path is a number from 1.", field="$.seq")
    return int(text)


def _reader(request: type[Any], name: str) -> Callable[[str], Any]:
    """Return what reads a field from the path."""
    if name == "seq":
        return _seq
    kind = next(one for one in msgspec.inspect.type_info(request).fields if one.name == name).type  # type: ignore[attr-defined]
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.StrType):
        return str
    declared = next(one.type for one in msgspec.structs.fields(request) if one.name == name)

    def read(text: str) -> Any:
        try:
            return msgspec.convert(text, declared, strict=False)
        except msgspec.ValidationError as error:
            raise errors.InvalidRequest(f"{error}.", field=f"$.{name}") from error

    return read
