"""What users do with the toy kind: one row, asked for over the socket and over REST."""

from __future__ import annotations

from realtime import errors
from realtime.budgets import Budget
from realtime.log.store import Committed
from realtime.log.writer import Append, Writer
from realtime.model import RoomId, Scope, UserId, is_uuid
from realtime.operations import Done, Operation, Rest, Row, Socket
from realtime.wire import rest, socket
from realtime.wire.types import ClientId, Request, Seq, time
from realtime.wire.types import RoomId as AnyRoom
from tests.toy.kinds import PINNED


class MessagePin(Request):
    """Pin a message, as an admin of its room."""

    room: AnyRoom
    seq: Seq
    client_id: ClientId | None = None


def pin(writer: Writer, user: UserId, request: MessagePin, done: Done[Committed]) -> None:
    if not is_uuid(request.room):
        raise errors.RoomNotFound
    writer.submit(Append(RoomId(request.room), user, PINNED, request.client_id, request.seq, None, done))


def _sent(request: MessagePin, done: Committed) -> rest.Sent:
    return rest.Sent(room=request.room, seq=done.seq, at=time(done.at), client_id=request.client_id, duplicate=done.duplicate)


OPERATIONS: tuple[Row, ...] = (
    Operation(
        name="pin_message",
        summary="Pin a message.",
        request=MessagePin,
        submit=pin,
        scope=Scope.MESSAGES_WRITE,
        budget=Budget.MESSAGES,
        errors=(errors.RoomNotFound, errors.NotAMember, errors.MessageNotFound, errors.Forbidden),
        rest=Rest(method="POST", path="/rooms/{room}/messages/{seq}/pin", tag="Messages", answers={200: rest.Sent}, write=_sent),
        socket=Socket(
            name="message.pin",
            ack=socket.Appended,
            write=lambda done: socket.Appended(seq=done.seq, at=time(done.at), duplicate=done.duplicate),
        ),
    ),
)
"""Served by the log's `Writer`."""
