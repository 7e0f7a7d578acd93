"""A toy capability: pins on messages. Its requests, answers, service and rows; nothing else knows of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from realtime import errors
from realtime.budgets import Budget
from realtime.model import Scope, UserId
from realtime.operations import Caller, Done, Made, Operation, Rest, Row, Socket
from realtime.wire import socket
from realtime.wire.types import Answer, Id, Request, RoomId, Seq

Note = Annotated[str, Meta(min_length=1, max_length=20, description="Why it is pinned.")]


class Pin(Request):
    """Pin a message to its room."""

    room: RoomId
    seq: Seq
    note: Note | None = None


class Unpin(Request):
    """Take a pin away."""

    room: RoomId
    seq: Seq


class ListPins(Request):
    room: RoomId
    limit: Annotated[int, Meta(ge=1, le=10)] = 10


class Pinned(Answer):
    """A pin."""

    seq: int
    by: Id
    note: str | None = None


class Pins(Answer):
    pins: list[Pinned]


class PinnedAck(socket.Ok, kw_only=True):
    """The pin that is there now."""

    seq: int
    by: Id


class Board:
    """The service: pins in memory."""

    def __init__(self) -> None:
        self.pins: dict[tuple[str, int], Pinned] = {}


async def pin(board: Board, caller: Caller, request: Pin) -> Made[Pinned]:
    key = (request.room, request.seq)
    is_new = key not in board.pins
    made = board.pins.setdefault(key, Pinned(seq=request.seq, by=caller.user_id, note=request.note))
    return Made(made, is_new)


async def list_pins(board: Board, caller: Caller, request: ListPins) -> Pins:
    found = [one for (room, _), one in sorted(board.pins.items()) if room == request.room]
    return Pins(pins=found[: request.limit])


def unpin(board: Board, user: UserId, request: Unpin, done: Done[bool]) -> None:
    """Submitted, and so in the order in which the caller asked."""
    found = board.pins.pop((request.room, request.seq), None)
    done(errors.MessageNotFound() if found is None else True)


OPERATIONS: tuple[Row, ...] = (
    Operation(
        name="pin_message",
        summary="Pin a message.",
        request=Pin,
        handler=pin,
        scope=Scope.MESSAGES_WRITE,
        budget=Budget.MODERATION,
        errors=(errors.MessageNotFound,),
        rest=Rest(method="PUT", path="/rooms/{room}/pins/{seq}", tag="Pins", answers={201: Pinned, 200: Pinned}),
        socket=Socket(name="pin.add", ack=PinnedAck, write=lambda made: PinnedAck(seq=made.value.seq, by=made.value.by)),
    ),
    Operation(
        name="unpin_message",
        summary="Take a pin away.",
        request=Unpin,
        submit=unpin,
        scope=Scope.MESSAGES_WRITE,
        budget=Budget.MODERATION,
        errors=(errors.MessageNotFound,),
        rest=Rest(method="DELETE", path="/rooms/{room}/pins/{seq}", tag="Pins", answers={204: None}, write=lambda *_: None),
        socket=Socket(name="pin.remove", ack=socket.Ok, write=lambda _: socket.Ok()),
    ),
    Operation(
        name="list_pins",
        summary="List the pins of a room.",
        request=ListPins,
        handler=list_pins,
        scope=Scope.MESSAGES_READ,
        rest=Rest(method="GET", path="/rooms/{room}/pins", tag="Pins", answers={200: Pins}),
    ),
)
"""Served by a `Board`."""
