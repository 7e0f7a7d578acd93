"""One typed request, whichever way it came: what HTTP has in the path, the query and the body makes up the socket's struct."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from realtime.errors import InvalidRequest
from realtime.node.operations import OPERATIONS
from realtime.operations import Operation, Rest
from realtime.surface.rest.shape import shape
from realtime.wire import rest, socket
from realtime.wire.types import Request

ROWS = {row.name: row for row in OPERATIONS}


def read(name: str, path: dict[str, str], **fields: Any) -> Any:
    parts = shape(ROWS[name])
    part = parts.query or parts.body
    given = None if part is None else msgspec.convert(fields, part)
    return parts.reader()(path, given if parts.query else None, given if parts.body else None)


def test_the_path_and_the_body_make_up_the_request_of_the_socket() -> None:
    assert read("send_message", {"room": "r"}, client_id="c", body="hi") == socket.MessageSend(room="r", client_id="c", body="hi")
    assert read("edit_message", {"room": "r", "seq": "7"}, body="ho") == socket.MessageEdit(room="r", seq=7, body="ho")


def test_the_path_and_the_query_make_up_a_request_with_its_defaults() -> None:
    assert read("delete_message", {"room": "r", "seq": "7"}) == socket.MessageDelete(room="r", seq=7)
    assert read("list_messages", {"room": "r"}, before=3) == rest.ListMessages(room="r", before=3)


def test_a_request_without_path_fields_is_the_body_itself() -> None:
    assert shape(ROWS["create_room"]).body is rest.CreateRoom
    assert shape(ROWS["find_users"]).query is rest.FindUsers


def test_what_the_path_names_is_refused_in_the_body() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `room`"):
        read("send_message", {"room": "r"}, room="other", client_id="c", body="hi")


@pytest.mark.parametrize(
    ("fields", "place"), [({"client_id": "a b", "body": "x"}, "$.client_id"), ({"client_id": "c", "body": " "}, "$.body")]
)
def test_the_rules_of_the_request_hold_over_rest_too(fields: dict[str, str], place: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read("send_message", {"room": "r"}, **fields)
    assert refused.value.field == place


@pytest.mark.parametrize("seq", ["0", "x", "-1", "1.0", "٣", "9" * 17, ""])
def test_a_seq_in_the_path_is_a_number_from_1(seq: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read("edit_message", {"room": "r", "seq": seq}, body="ho")
    assert refused.value.field == "$.seq"


class Turn(Request, frozen=True):
    degrees: Annotated[int, msgspec.Meta(ge=0, le=360)]


async def turn(service: object, caller: object, request: Turn) -> None: ...


def test_a_field_of_another_kind_in_the_path_is_converted_and_checked() -> None:
    route: Rest[Turn, None] = Rest(method="PUT", path="/turn/{degrees}", tag="Rooms", answers={204: None})
    reader = shape(Operation(name="turn", summary="Turn.", request=Turn, scope=None, handler=turn, rest=route)).reader()
    assert reader({"degrees": "90"}, None, None) == Turn(degrees=90)
    for text in ("x", "400", "1.5"):
        with pytest.raises(InvalidRequest) as refused:
            reader({"degrees": text}, None, None)
        assert refused.value.field == "$.degrees"


@pytest.mark.parametrize("row", [row for row in OPERATIONS if row.rest], ids=lambda row: row.name)
def test_every_variable_of_a_path_is_a_field_of_its_request(row: Any) -> None:
    assert set(shape(row).path) <= set(row.request.__struct_fields__)
