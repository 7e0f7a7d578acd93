"""Rooms and members over REST, and what live connections see of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.client import Api, Person, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Socket

    Keep = Callable[[Socket], Socket]

UNKNOWN = "01900000-0000-7000-8000-000000000000"


async def people(api: Api, count: int) -> list[Person]:
    return list(await asyncio.gather(*(api.register() for _ in range(count))))


async def test_a_new_user_has_no_rooms(api: Api) -> None:
    anna = await api.register()
    assert await anna.get("/rooms?scope=mine") == {"rooms": [], "has_more": False} or (await anna.get("/rooms?scope=mine")) == {
        "rooms": []
    }


async def test_a_public_room_is_found_and_joined_by_everybody(api: Api) -> None:
    anna, bert = await people(api, 2)
    room = await anna.room("public", "Kitchen")
    seen = await bert.get(f"/rooms/{room}")
    assert (seen["name"], seen["kind"], seen.get("role")) == ("Kitchen", "public", None)
    joined = await bert.request("POST", f"/rooms/{room}/join", expect=200)
    assert joined.json["role"] == "member"
    assert (await bert.get("/rooms?scope=mine"))["rooms"][0]["id"] == room
    assert (await anna.get(f"/rooms/{room}"))["member_count"] == 2


async def test_a_private_room_does_not_exist_for_others(api: Api) -> None:
    anna, bert = await people(api, 2)
    room = await anna.room("private")
    await anna.send(room)
    for method, path in (
        ("GET", ""), ("GET", "/messages"), ("GET", "/events"), ("GET", "/members"), ("POST", "/join"), ("POST", "/leave"),
    ):  # fmt: skip
        theirs = await bert.request(method, f"/rooms/{room}{path}", expect=404)
        unknown = await bert.request(method, f"/rooms/{UNKNOWN}{path}", expect=404)
        assert theirs.json == unknown.json
    body = {"client_id": "c1", "body": "hello"}
    theirs = await bert.request("POST", f"/rooms/{room}/messages", body, expect=404)
    assert theirs.json == (await bert.request("POST", f"/rooms/{UNKNOWN}/messages", body, expect=404)).json


async def test_a_public_room_must_be_joined_to_be_read_or_written(api: Api) -> None:
    anna, bert = await people(api, 2)
    room = await anna.room("public")
    assert (await bert.request("GET", f"/rooms/{room}/messages", expect=403)).code == "not_a_member"
    refused = await bert.request("POST", f"/rooms/{room}/messages", {"client_id": "c", "body": "x"}, expect=403)
    assert refused.code == "not_a_member"


async def test_two_people_have_one_direct_room_however_often_and_at_once_they_ask(api: Api) -> None:
    anna, bert = await people(api, 2)
    answers = await asyncio.gather(
        *(
            one.request("POST", "/rooms", {"kind": "direct", "members": [other.id]})
            for one, other in [(anna, bert), (bert, anna)] * 4
        )
    )
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    room = answers[0].json["id"]
    assert (await anna.get(f"/rooms/{room}"))["peer"]["id"] == bert.id
    assert (await bert.get(f"/rooms/{room}"))["peer"]["id"] == anna.id
    for method, path, body in (
        ("POST", "/leave", None),
        ("POST", "/members", {"user": anna.id}),
        ("DELETE", f"/members/{bert.id}", None),
    ):
        assert (await anna.request(method, f"/rooms/{room}{path}", body, expect=409)).code == "direct_room_fixed"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "direct"},
        {"kind": "direct", "members": [UNKNOWN], "name": "x"},
        {"kind": "secret"},
        {"kind": "public", "name": ""},
        {"kind": "public", "name": "a\nb"},
        {"kind": "public", "name": "x" * 81},
    ],
)
async def test_a_room_that_makes_no_sense_is_not_made(api: Api, body: dict[str, object]) -> None:
    anna = await api.register()
    assert (await anna.request("POST", "/rooms", body, expect=400)).code == "invalid_request"
    assert not (await anna.get("/rooms?scope=mine"))["rooms"]


async def test_a_room_with_an_unknown_member_is_not_made(api: Api) -> None:
    anna = await api.register()
    for member in (UNKNOWN, "nobody"):
        answer = await anna.request("POST", "/rooms", {"kind": "private", "name": "x", "members": [member]}, expect=404)
        assert answer.code == "user_not_found"
    assert not (await anna.get("/rooms?scope=mine"))["rooms"]


async def test_adding_roles_and_removing_follow_the_ranks(api: Api) -> None:
    anna, bert, carl, dora = await people(api, 4)
    room = await anna.room("private")
    await anna.request("POST", f"/rooms/{room}/members", {"user": bert.id, "role": "admin"}, expect=201)
    await bert.request("POST", f"/rooms/{room}/members", {"user": carl.id}, expect=201)
    again = await bert.request("POST", f"/rooms/{room}/members", {"user": carl.id, "role": "admin"}, expect=200)
    assert again.json["role"] == "member", "adding again does not change a role"
    for person, method, path, body, code in (
        (carl, "POST", "/members", {"user": dora.id}, "forbidden"),
        (bert, "POST", "/members", {"user": dora.id, "role": "owner"}, "forbidden"),
        (bert, "PATCH", f"/members/{anna.id}", {"role": "member"}, "forbidden"),
        (bert, "DELETE", f"/members/{anna.id}", None, "forbidden"),
        (carl, "DELETE", f"/members/{bert.id}", None, "forbidden"),
        (anna, "PATCH", f"/members/{dora.id}", {"role": "admin"}, "member_not_found"),
        (anna, "PATCH", f"/members/{anna.id}", {"role": "member"}, "last_owner"),
        (anna, "POST", "/leave", None, "last_owner"),
    ):
        assert (await person.request(method, f"/rooms/{room}{path}", body)).code == code, (method, path)
    await anna.request("PATCH", f"/rooms/{room}/members/{carl.id}", {"role": "admin"}, expect=200)
    await anna.request("DELETE", f"/rooms/{room}/members/{bert.id}", expect=204)
    await anna.request("PATCH", f"/rooms/{room}/members/{carl.id}", {"role": "owner"}, expect=200)
    await anna.request("POST", f"/rooms/{room}/leave", expect=204)
    members = (await carl.get(f"/rooms/{room}/members"))["members"]
    assert [(one["user"]["id"], one["role"]) for one in members] == [(carl.id, "owner")]
    events = (await carl.get(f"/rooms/{room}/events"))["events"]
    assert [event["kind"] for event in events] == [
        "member.joined", "member.joined", "member.role_changed", "member.removed", "member.role_changed", "member.left",
    ]  # fmt: skip
    assert [event["seq"] for event in events] == list(range(1, 7))


async def test_many_joins_at_once_are_all_numbered(api: Api) -> None:
    anna, *others = await people(api, 12)
    room = await anna.room("public")
    await asyncio.gather(*(other.request("POST", f"/rooms/{room}/join", expect=200) for other in others))
    assert (await anna.get(f"/rooms/{room}"))["member_count"] == 12
    events = (await anna.get(f"/rooms/{room}/events"))["events"]
    assert [event["seq"] for event in events] == list(range(1, 12))


async def test_whoever_joins_a_room_without_an_owner_first_owns_it(api: Api) -> None:
    anna, bert, carl = await people(api, 3)
    room = await anna.room("public", "Kitchen")
    await anna.request("POST", f"/rooms/{room}/leave", expect=204)
    roles = await asyncio.gather(*(one.request("POST", f"/rooms/{room}/join", expect=200) for one in (bert, carl)))
    assert sorted(one.json["role"] for one in roles) == ["member", "owner"]
    events = (await bert.get(f"/rooms/{room}/events?since=0"))["events"]
    assert [(event["kind"], event.get("role")) for event in events][1:] == [
        ("member.joined", "owner"),
        ("member.joined", "member"),
    ]
    assert (await anna.request("POST", f"/rooms/{room}/join", expect=200)).json["role"] == "member"


async def test_of_two_last_owners_who_leave_at_once_one_stays(api: Api) -> None:
    for _ in range(5):
        anna, bert, carl = await people(api, 3)
        room = await anna.room("private", members=[bert, carl])
        await anna.request("PATCH", f"/rooms/{room}/members/{bert.id}", {"role": "owner"}, expect=200)
        answers = await asyncio.gather(*(one.request("POST", f"/rooms/{room}/leave") for one in (anna, bert)))
        assert sorted(answer.status for answer in answers) == [204, 409]


async def test_somebody_added_is_told_on_every_device_and_somebody_removed_gets_nothing_more(api: Api, close_later: Keep) -> None:
    anna, bert = await people(api, 2)
    phone, desk = close_later(await bert.connect()), close_later(await bert.connect())
    room = await anna.room("private")
    await anna.request("POST", f"/rooms/{room}/members", {"user": bert.id}, expect=201)
    for socket in (phone, desk):
        await socket.wait_for("room.added")
        assert socket.payloads("room.added")[0]["room"]["id"] == room
    await phone.subscribe(room)
    await anna.send(room, "before")
    await phone.wait_events(room, 1)
    await anna.request("DELETE", f"/rooms/{room}/members/{bert.id}", expect=204)
    await anna.send(room, "after")
    for socket in (phone, desk):
        await socket.wait_for("room.removed")
        assert socket.payloads("room.removed")[0] == {"room": room, "reason": "removed"}
    with pytest.raises(Refused, match="room_not_found"):
        await phone.send(room)
    with pytest.raises(Refused, match="not_subscribed"):
        await phone.call("signal", {"room": room, "kind": "typing"})
    assert [event["body"] for event in phone.events(room) if event["kind"] == "message.created"] == ["before"]
    answer = await phone.subscribe(room, since=0)
    assert answer["error"]["code"] == "room_not_found"


async def test_rooms_are_listed_page_by_page(api: Api) -> None:
    anna = await api.register()
    made = [await anna.room("private", f"Room {number}") for number in range(5)]
    first = await anna.get("/rooms?scope=mine&limit=3")
    assert first["has_more"] is True
    second = await anna.get(f"/rooms?scope=mine&limit=3&after={first['rooms'][-1]['id']}")
    assert [room["id"] for room in first["rooms"] + second["rooms"]] == sorted(made)
