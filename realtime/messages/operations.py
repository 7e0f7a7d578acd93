"""Writing, editing and deleting messages. Each is submitted: the writer keeps the order in which a caller asked."""

from __future__ import annotations

from typing import TypeAlias

from realtime import errors
from realtime.budgets import Budget
from realtime.log.store import Committed
from realtime.log.writer import Append, Writer
from realtime.messages import kinds
from realtime.model import RoomId, Scope, UserId, is_uuid
from realtime.operations import Done, Made, Operation, Rest, Row, Socket
from realtime.wire import rest, socket
from realtime.wire.types import time

_Write: TypeAlias = socket.MessageSend | socket.MessageEdit | socket.MessageDelete
_ERRORS = (errors.RoomNotFound, errors.NotAMember, errors.ClientIdConflict, errors.RoomClosed)


def send(writer: Writer, user: UserId, request: socket.MessageSend, done: Done[Committed]) -> None:
    writer.submit(Append(_room(request.room), user, kinds.CREATED, request.client_id, None, request.body, done))


def edit(writer: Writer, user: UserId, request: socket.MessageEdit, done: Done[Committed]) -> None:
    writer.submit(Append(_room(request.room), user, kinds.EDITED, request.client_id, request.seq, request.body, done))


def delete(writer: Writer, user: UserId, request: socket.MessageDelete, done: Done[Committed]) -> None:
    writer.submit(Append(_room(request.room), user, kinds.DELETED, request.client_id, request.seq, None, done))


def _room(room: str) -> RoomId:
    if not is_uuid(room):
        raise errors.RoomNotFound
    return RoomId(room)


def _ack(done: Committed) -> socket.Appended:
    return socket.Appended(seq=done.seq, at=time(done.at), duplicate=done.duplicate)


def _sent(request: _Write, done: Committed) -> rest.Sent:
    return rest.Sent(room=request.room, seq=done.seq, at=time(done.at), client_id=request.client_id, duplicate=done.duplicate)


OPERATIONS: tuple[Row, ...] = (
    Operation(
        name="send_message",
        summary="Send a message. Sending the same client_id again answers the first message again (200).",
        request=socket.MessageSend,
        submit=send,
        scope=Scope.MESSAGES_WRITE,
        budget=Budget.MESSAGES,
        errors=_ERRORS,
        rest=Rest(
            method="POST",
            path="/rooms/{room}/messages",
            tag="Messages",
            answers={201: rest.Sent, 200: rest.Sent},
            write=lambda request, done: Made(_sent(request, done), not done.duplicate),
        ),
        socket=Socket(name="message.send", ack=socket.Appended, write=_ack),
    ),
    Operation(
        name="edit_message",
        summary="Edit your own message. Answers the seq of the edit.",
        request=socket.MessageEdit,
        submit=edit,
        scope=Scope.MESSAGES_WRITE,
        budget=Budget.MESSAGES,
        errors=(*_ERRORS, errors.MessageNotFound, errors.Forbidden, errors.TooManyEdits),
        rest=Rest(
            method="PATCH",
            path="/rooms/{room}/messages/{seq}",
            tag="Messages",
            answers={200: rest.Sent},
            write=_sent,
        ),
        socket=Socket(name="message.edit", ack=socket.Appended, write=_ack),
    ),
    Operation(
        name="delete_message",
        summary="Delete your own message (admins: any). Answers the seq of the deletion.",
        request=socket.MessageDelete,
        submit=delete,
        scope=Scope.MESSAGES_WRITE,
        budget=Budget.MESSAGES,
        errors=(*_ERRORS, errors.MessageNotFound, errors.Forbidden),
        rest=Rest(
            method="DELETE",
            path="/rooms/{room}/messages/{seq}",
            tag="Messages",
            answers={200: rest.Sent},
            write=_sent,
        ),
        socket=Socket(name="message.delete", ack=socket.Appended, write=_ack),
    ),
)
"""Served by the log's `Writer`."""
