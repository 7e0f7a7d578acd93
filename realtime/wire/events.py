"""The events of a room on the wire: flat, the same bytes live, in catch-up and over REST.

There is one struct for each kind, in the folder of the capability that the kind belongs to.
"""

from __future__ import annotations

from typing import Any

import msgspec

from realtime.wire.types import Id, Role, Time


class RoomEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="kind"):
    """What every event has: its room, its number there, when it was committed and who did it."""

    room: Id
    seq: int
    at: Time
    actor: Id


class OtherEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An event of a kind that only a newer release knows. Take its `seq`, and pass over it."""

    kind: str
    room: Id
    seq: int
    at: Time
    actor: Id
    client_id: str | None = None
    target: int | None = None
    user: Id | None = None
    role: Role | None = None
    body: str | None = None
    edited_at: Time | None = None
    deleted_at: Time | None = None
    thread: int | None = None
    data: Any = None
