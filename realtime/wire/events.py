"""The events of a room on the wire: flat, the same bytes live, in catch-up and over REST.

There is one struct for each kind, in the folder of the capability that the kind belongs to.
"""

from __future__ import annotations

import msgspec

from realtime.wire.types import Id, Time


class RoomEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="kind"):
    """What every event has: its room, its number there, when it was committed and who did it."""

    room: Id
    seq: int
    at: Time
    actor: Id
