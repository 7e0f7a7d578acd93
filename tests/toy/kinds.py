"""A kind of events from outside of the package: what a capability brings along to have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realtime.errors import Forbidden, MessageNotFound
from realtime.log.kinds import Case, Kind
from realtime.model import Role
from realtime.wire.events import RoomEvent

if TYPE_CHECKING:
    from realtime.log.store import Entry


class MessagePinned(RoomEvent, frozen=True, kw_only=True, tag="message.pinned"):
    """The message numbered `target` is pinned."""

    target: int
    client_id: str | None = None
    data: dict[str, Any] | None = None


def pin(case: Case) -> None:
    """May they pin a message? Admins and owners may."""
    target = case.target
    if target is None or target.kind != "message.created" or target.is_deleted:
        raise MessageNotFound
    if case.role not in (Role.ADMIN, Role.OWNER):
        raise Forbidden


def _message(entry: Entry) -> tuple[str, int | None]:
    return entry.room, entry.target


def _pin(entry: Entry) -> tuple[str, str, int | None]:
    return "pin", entry.room, entry.target


PINNED = Kind(event=MessagePinned, judge=pin, changes=_pin, reads=_message)
KINDS = (PINNED,)
MIGRATION = """
CREATE TABLE pins (room uuid, target bigint, seq bigint NOT NULL, PRIMARY KEY (room, target));

CREATE FUNCTION judge_message_pinned(p_entries log_entry[]) RETURNS TABLE (ord integer, refusal text)
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    SELECT i.ord,
           CASE
               WHEN t.kind IS DISTINCT FROM 'message.created' OR t.deleted_at IS NOT NULL THEN 'message_not_found'
               WHEN i.role NOT IN ('admin', 'owner') THEN 'forbidden'
               WHEN p.seq IS NOT NULL THEN 'forbidden'
           END
    FROM unnest(p_entries) i
    LEFT JOIN events t ON t.room = i.room AND t.seq = i.target
    LEFT JOIN pins p ON p.room = i.room AND p.target = i.target;
END
$$;

CREATE FUNCTION apply_message_pinned(p_entries log_entry[], p_at timestamptz) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO pins (room, target, seq) SELECT i.room, i.target, i.seq FROM unnest(p_entries) i;
END
$$;

GRANT SELECT, INSERT ON pins TO roomwire_app;
GRANT EXECUTE ON FUNCTION judge_message_pinned, apply_message_pinned TO roomwire_app;
"""
