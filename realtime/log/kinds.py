"""The kinds of events: one declaration each, made by the capability that it belongs to, and the registry of all. Pure.

The composition root puts the registry together; a kind that stands in it twice stops the start. Whatever depends on a kind is
read from here: how an event is written, which frames end a membership or erase texts, what goes into one batch, the documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec

from realtime.model import Event
from realtime.wire.events import RoomEvent
from realtime.wire.types import time

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from realtime.log.store import Entry

    Key: TypeAlias = Callable[[Entry], Hashable]

_NAME = re.compile(r"[a-z]+(\.[a-z]+(_[a-z]+)*)+")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Target:
    """The event that an entry is about, as its rule sees it.

    Args:
        kind: Of the event.
        is_own: Whether the actor made it.
        is_deleted: Whether it is a message that was deleted.
        is_answer: Whether it is a message in a thread.
        edits: How often it was edited.
    """

    kind: str
    is_own: bool
    is_deleted: bool = False
    is_answer: bool = False
    edits: int = 0


class Case(NamedTuple):
    """What the rule of a kind judges: an entry of a member.

    Args:
        role: The actor's in the room: a `Role`, or one that only newer nodes know.
        is_silenced: Whether the actor may not write, in a direct room.
        target: The event that it is about, or that it answers; None: it names one that is not there, or none.
        has_target: Whether it names one.
    """

    role: str
    is_silenced: bool = False
    target: Target | None = None
    has_target: bool = True


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Kind:
    """One kind of event.

    Args:
        event: Its struct on the wire; the tag is the name.
        judge: Who may append one: returns, or raises the refusal. PostgreSQL repeats it inside the write, in the function
            `judge_<name>`; a test holds the two together. None: the kind is not appended as an entry.
        is_plain: `append_entries` judges it by itself, as long as it has neither thread nor data.
        changes: What an entry changes beside its own row. Two entries of one batch never change the same.
        reads: What its rule reads that other entries may change. No entry of the same batch does.
        erases: It empties the message that it is about: frames before it may hold its texts.
        departs: It ends the membership of its `user`, for this reason.
        build: Makes the struct of an event; None: from the fields of the same names.
    """

    event: type[RoomEvent]
    judge: Callable[[Case], None] | None = None
    is_plain: bool = False
    changes: Key | None = None
    reads: Key | None = None
    erases: bool = False
    departs: Literal["left", "removed", "banned"] | None = None
    build: Callable[[Event], RoomEvent] | None = None
    name: str = field(init=False)
    """The value of the column `kind`, and the Socket.IO event name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.event.__struct_config__.tag))


class _Entry(NamedTuple):
    """A kind, ready for use."""

    build: Callable[[Event], RoomEvent]
    decode: Callable[[bytes], Any]


class Kinds:
    """The registry.

    Args:
        kinds: Of all capabilities.

    Raises:
        ValueError: a kind stands twice, or has a name that is none.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds: dict[str, Kind] = {}
        for kind in kinds:
            if not _NAME.fullmatch(kind.name):
                raise ValueError(f"{kind.name!r} is no name of a kind of events: lower-case words with dots between them")
            if kind.name in self._kinds:
                raise ValueError(f"the kind of events {kind.name} is declared twice")
            self._kinds[kind.name] = kind
        self._ready = {
            name: _Entry(kind.build or _by_name(kind.event), msgspec.json.Decoder(kind.event).decode)
            for name, kind in self._kinds.items()
        }

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    @property
    def structs(self) -> dict[str, type[RoomEvent]]:
        """The struct of each kind, by name."""
        return {name: kind.event for name, kind in self._kinds.items()}

    @property
    def judged(self) -> list[str]:
        """The kinds that are appended as entries, and so need a rule in the database."""
        return [name for name, kind in self._kinds.items() if kind.judge is not None]

    def encode(self, event: Event) -> bytes:
        """Encode an event as the JSON object that every surface shows."""
        ready = self._ready.get(event.kind)
        return _encode(_unknown(event) if ready is None else ready.build(event))

    def decode(self, name: str, json: bytes) -> RoomEvent | None:
        """Decode what `encode` made of an event of this kind; None: the kind is not known here.

        Raises:
            msgspec.ValidationError: when it is something else.
        """
        ready = self._ready.get(name)
        found: RoomEvent | None = None if ready is None else ready.decode(json)
        return found


def _unknown(event: Event) -> dict[str, object]:
    """Build an event of a kind that only a newer node knows: all that it has, under the usual names."""
    fields = {name: getattr(event, name) for name in Event.__struct_fields__}
    times = {name: None if fields[name] is None else time(fields[name]) for name in ("at", "edited_at", "deleted_at")}
    return {name: value for name, value in (fields | times).items() if value is not None}


def _by_name(struct: type[RoomEvent]) -> Callable[[Event], RoomEvent]:
    """Make what builds a struct from the event's fields of the same names."""

    def build(event: Event) -> RoomEvent:
        fields = {name: getattr(event, name) for name in struct.__struct_fields__}
        return struct(**fields | {"at": time(event.at)})

    return build
