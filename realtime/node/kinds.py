"""All kinds of events that this server knows: one line for each capability that has some. Pure."""

from __future__ import annotations

from realtime.log.kinds import Kinds
from realtime.messages import kinds as messages
from realtime.rooms import kinds as rooms

KINDS = Kinds((*messages.KINDS, *rooms.KINDS))
