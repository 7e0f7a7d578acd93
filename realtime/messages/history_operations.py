"""Reading what was written in a room."""

from __future__ import annotations

import msgspec

from realtime import errors
from realtime.messages.history import History
from realtime.model import Event, Scope
from realtime.operations import Caller, Operation, Rest, Row
from realtime.wire import rest
from realtime.wire.types import Answer, time

_ERRORS = (errors.RoomNotFound, errors.NotAMember)


class EncodedEvents(Answer, frozen=True):
    """`rest.Events`, of events that are JSON already."""

    events: list[msgspec.Raw]
    head_seq: int
    has_more: bool


async def list_messages(history: History, caller: Caller, request: rest.ListMessages) -> rest.Messages:
    page = await history.messages(caller.user_id, request)
    return rest.Messages(
        messages=[_message(event) for event in page.messages],
        head_seq=page.head_seq,
        has_before=page.has_before,
        has_after=page.has_after,
    )


async def list_events(history: History, caller: Caller, request: rest.ListEvents) -> EncodedEvents:
    page = await history.events(caller.user_id, request.room, request.since, request.limit)
    return EncodedEvents(events=[msgspec.Raw(one) for one in page.events], head_seq=page.head_seq, has_more=page.has_more)


def _message(event: Event) -> rest.Message:
    return rest.Message(
        room=event.room,
        seq=event.seq,
        at=time(event.at),
        author=event.actor,
        client_id=event.client_id or "",
        body=event.body or "",
        edited_at=time(event.edited_at) if event.edited_at else None,
        deleted_at=time(event.deleted_at) if event.deleted_at else None,
    )


HISTORY: tuple[Row, ...] = (
    Operation(
        name="list_messages",
        summary="List messages as they are now, ascending: the latest, or before, after or around a seq.",
        request=rest.ListMessages,
        handler=list_messages,
        scope=Scope.MESSAGES_READ,
        errors=_ERRORS,
        rest=Rest(method="GET", path="/rooms/{room}/messages", tag="Messages", answers={200: rest.Messages}),
    ),
    Operation(
        name="list_events",
        summary="List events of every kind after a seq, ascending: what a client missed.",
        request=rest.ListEvents,
        handler=list_events,
        scope=Scope.EVENTS_READ,
        errors=_ERRORS,
        rest=Rest(method="GET", path="/rooms/{room}/events", tag="Messages", answers={200: rest.Events}),
    ),
)
"""Served by `History`."""
