"""Messages over the socket and REST: the same service, the same answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.client import Api, Refused, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]


async def test_a_message_is_acked_with_its_number_and_reaches_everybody_the_sender_too(api: Api, close_later: Keep) -> None:
    anna, bert = await api.register(), await api.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.connect())
    await a.subscribe(room)
    await b.subscribe(room)
    ack = await a.call("message.send", {"room": room, "client_id": "c1", "body": "Grüße, 世界 👋"})
    assert ack["seq"] == 1
    for socket in (a, b):
        await socket.wait_events(room, 1)
        [event] = socket.events(room)
        assert (event["kind"], event["seq"], event["at"]) == ("message.created", 1, ack["at"])
        assert (event["actor"], event["client_id"], event["body"]) == (anna.id, "c1", "Grüße, 世界 👋")


async def test_a_retry_gets_the_first_answer_again_over_socket_and_rest(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    request = {"room": room, "client_id": "same", "body": "once"}
    first = await socket.call("message.send", request)
    again = await socket.call("message.send", request)
    assert (again["seq"], again["at"], again["duplicate"]) == (first["seq"], first["at"], True)
    rest = await anna.request("POST", f"/rooms/{room}/messages", {"client_id": "same", "body": "other"}, expect=200)
    assert (rest.json["seq"], rest.json["at"], rest.json["duplicate"]) == (first["seq"], first["at"], True)
    at_once = await asyncio.gather(
        *(socket.call("message.send", {**request, "client_id": "burst"}) for _ in range(10)),
        *(anna.request("POST", f"/rooms/{room}/messages", {"client_id": "burst", "body": "x"}) for _ in range(5)),
    )
    assert {answer["seq"] if isinstance(answer, dict) else answer.json["seq"] for answer in at_once} == {2}
    page = await anna.get(f"/rooms/{room}/messages")
    assert page["messages"][0]["body"] == "once"
    assert page["head_seq"] == 2


async def test_the_same_client_id_of_another_sender_or_in_another_room_is_another_message(api: Api) -> None:
    anna, bert = await api.register(), await api.register()
    room, other = await anna.room("private", members=[bert]), await anna.room("private")
    assert await anna.send(room, client_id="x") == 1
    assert await bert.send(room, client_id="x") == 2
    assert await anna.send(other, client_id="x") == 1


async def test_one_clients_pipelined_sends_keep_their_order(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    await socket.subscribe(room)
    bodies = [str(number) for number in range(150)]
    acks = await asyncio.gather(*(socket.send(room, body) for body in bodies))
    assert acks == list(range(1, 151))
    await socket.wait_events(room, 150)
    assert [event["body"] for event in socket.events(room)] == bodies


async def test_edits_and_deletions_are_events_and_change_the_message(api: Api, close_later: Keep) -> None:
    anna, bert = await api.register(), await api.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.connect())
    await a.subscribe(room)
    seq = await b.send(room, "first")
    edit = await b.call("message.edit", {"room": room, "seq": seq, "body": "second", "client_id": "e1"})
    again = await b.call("message.edit", {"room": room, "seq": seq, "body": "second", "client_id": "e1"})
    assert (edit["seq"], again["seq"], again["duplicate"]) == (2, 2, True)
    page = await anna.get(f"/rooms/{room}/messages")
    assert [(one["seq"], one["body"]) for one in page["messages"]] == [(1, "second")]
    assert page["messages"][0]["edited_at"] == edit["at"]
    await a.call("message.delete", {"room": room, "seq": seq})  # the owner deletes a member's message
    await a.wait(lambda: a.seqs(room) == [1, 2, 3])
    assert [event["kind"] for event in a.events(room)] == ["message.created", "message.edited", "message.deleted"]
    history = await anna.get(f"/rooms/{room}/messages")
    assert (history["messages"][0]["body"], "deleted_at" in history["messages"][0]) == ("", True)
    replay = await anna.get(f"/rooms/{room}/events")
    assert [event.get("body") for event in replay["events"]] == ["", "", None], "the text is gone everywhere"
    with pytest.raises(Refused, match="message_not_found"):
        await b.call("message.edit", {"room": room, "seq": seq, "body": "third"})


async def test_after_the_ack_of_a_deletion_nobody_reads_the_text_in_catch_up_either(nodes: Nodes, close_later: Keep) -> None:
    apis = [await nodes.start(), await nodes.start()]
    anna = await apis[0].register()
    room = await anna.room("private")
    sockets = [close_later(await anna.at(api.url).connect()) for api in apis]
    for socket in sockets:
        await socket.subscribe(room)  # both nodes hold the last frames of the room
    seq = await anna.send(room, "a secret")
    await sockets[0].call("message.edit", {"room": room, "seq": seq, "body": "a secret too"})
    await sockets[0].call("message.delete", {"room": room, "seq": seq})
    await sockets[1].wait_events(room, 3)
    for api in apis:
        late = close_later(await anna.at(api.url).connect())
        answer = await late.subscribe(room, since=0)
        assert [event.get("body") for event in answer["events"]] == ["", "", None]


async def test_owners_and_admins_delete_what_others_wrote_and_nobody_rewrites_it(api: Api, close_later: Keep) -> None:
    owner, admin, author = await api.register(), await api.register(), await api.register()
    room = await owner.room("private", members=[admin, author])
    await owner.request("PATCH", f"/rooms/{room}/members/{admin.id}", {"role": "admin"}, expect=200)
    for moderator in (owner, admin):
        seq = await author.send(room, "my words")
        socket = close_later(await moderator.connect())
        with pytest.raises(Refused, match="forbidden"):
            await socket.call("message.edit", {"room": room, "seq": seq, "body": "their words"})
        refused = await moderator.request("PATCH", f"/rooms/{room}/messages/{seq}", {"body": "x", "client_id": "e"}, expect=403)
        assert refused.code == "forbidden"
        page = await author.get(f"/rooms/{room}/messages?limit=1")
        assert (page["messages"][0]["body"], "edited_at" in page["messages"][0]) == ("my words", False)
        await socket.call("message.delete", {"room": room, "seq": seq})
        page = await author.get(f"/rooms/{room}/messages?limit=1")
        assert (page["messages"][0]["body"], "deleted_at" in page["messages"][0]) == ("", True)


async def test_a_message_takes_a_thousand_edits_and_then_says_that_no_retry_helps(nodes: Nodes, close_later: Keep) -> None:
    api = await nodes.start()
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    seq, other = await anna.send(room), await anna.send(room)
    database = await asyncpg.connect(nodes.urls.owner)
    try:
        await database.execute("UPDATE events SET edits = 997 WHERE room = $1 AND seq = $2", room, seq)
    finally:
        await database.close()
    for number in range(3):
        await socket.call("message.edit", {"room": room, "seq": seq, "body": f"edit {number}"})
    with pytest.raises(Refused, match="too_many_edits") as refusal:
        await socket.call("message.edit", {"room": room, "seq": seq, "body": "one too many"})
    assert refusal.value.error["retryable"] is False
    refused = await anna.request("PATCH", f"/rooms/{room}/messages/{seq}", {"body": "one too many"}, expect=409)
    assert refused.code == "too_many_edits"
    await socket.call("message.edit", {"room": room, "seq": other, "body": "another message is not concerned"})
    page = await anna.get(f"/rooms/{room}/messages")
    assert page["messages"][0]["body"] == "edit 2"
    await socket.call("message.delete", {"room": room, "seq": seq})


async def test_deleting_a_message_with_very_many_edits_holds_up_nobody_and_nobody_reads_them_any_more(
    nodes: Nodes, close_later: Keep
) -> None:
    edits = 30_000  # put in as nodes of the version before let them in; erasing them takes many steps
    api = await nodes.start(statement_timeout_ms=1000)
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    seq = await anna.send(room, "secret")
    database = await asyncpg.connect(nodes.urls.owner)
    try:
        await database.execute(
            "INSERT INTO events (room, seq, kind, actor, at, target, body) "
            "SELECT $1, n, 'message.edited', $2, now(), 1, 'secret ' || repeat('x', 200) FROM generate_series(2, $3) n",
            room, anna.id, edits + 1,
        )  # fmt: skip
        await database.execute("UPDATE rooms SET head_seq = $2 WHERE id = $1", room, edits + 1)
        async with asyncio.timeout(1):
            await socket.call("message.delete", {"room": room, "seq": seq})
        for since in (0, edits - 100):
            page = await anna.get(f"/rooms/{room}/events?since={since}&limit=200")
            assert {event.get("body") for event in page["events"]} <= {"", None}
        caught_up = await socket.subscribe(room, since=edits - 100)
        assert {event.get("body") for event in caught_up["events"]} == {"", None}
        async with asyncio.timeout(30):
            while await database.fetchval("SELECT count(*) FROM events WHERE room = $1 AND body <> ''", room):
                await anna.send(await anna.room("private"))  # others write meanwhile
                await asyncio.sleep(0.05)
            while await database.fetchval("SELECT count(*) FROM erasures WHERE room = $1", room):
                await asyncio.sleep(0.05)
    finally:
        await database.close()


async def test_only_the_author_and_admins_change_a_message(api: Api, close_later: Keep) -> None:
    anna, bert = await api.register(), await api.register()
    room = await anna.room("private", members=[bert])
    seq = await anna.send(room)
    b = close_later(await bert.connect())
    for name, more in (("message.edit", {"body": "mine now"}), ("message.delete", {})):
        with pytest.raises(Refused, match="forbidden"):
            await b.call(name, {"room": room, "seq": seq, **more})
        with pytest.raises(Refused, match="message_not_found"):
            await b.call(name, {"room": room, "seq": 99, **more})
    await anna.request("PATCH", f"/rooms/{room}/messages/{seq}", {"body": "mine", "client_id": "e"}, expect=200)
    await anna.request("DELETE", f"/rooms/{room}/messages/{seq}?client_id=d", expect=200)
    again = await anna.request("DELETE", f"/rooms/{room}/messages/{seq}?client_id=d", expect=200)
    assert again.json["duplicate"] is True
    conflict = await anna.request("POST", f"/rooms/{room}/messages", {"client_id": "d", "body": "x"}, expect=409)
    assert conflict.code == "client_id_conflict"


async def test_sends_are_limited_per_user_and_say_when_to_come_back(nodes: Nodes, close_later: Keep) -> None:
    api = await nodes.start(send_rate=1, send_burst=3)
    anna = await api.register()
    room = await anna.room("private")
    one, two = close_later(await anna.connect()), close_later(await anna.connect())
    await one.send(room)
    await two.send(room)
    await anna.send(room)
    with pytest.raises(Refused, match="rate_limited") as refusal:
        await one.send(room)
    assert refusal.value.error["retryable"] is True
    assert 1 <= refusal.value.error["retry_after_ms"] <= 1001
    rest = await anna.request("POST", f"/rooms/{room}/messages", {"client_id": unique(), "body": "x"}, expect=429)
    assert rest.headers["Retry-After"] == "1"


async def test_history_is_read_in_both_directions(api: Api) -> None:
    anna = await api.register()
    room = await anna.room("private")
    for number in range(1, 11):
        await anna.send(room, str(number))

    async def page(query: str) -> tuple[list[int], bool, bool]:
        found = await anna.get(f"/rooms/{room}/messages?{query}")
        assert found["head_seq"] == 10
        return [message["seq"] for message in found["messages"]], found["has_before"], found["has_after"]

    assert await page("limit=3") == ([8, 9, 10], True, False)
    assert await page("limit=3&before=8") == ([5, 6, 7], True, True)
    assert await page("limit=7&before=8") == ([1, 2, 3, 4, 5, 6, 7], False, True)
    assert await page("limit=3&after=0") == ([1, 2, 3], False, True)
    assert await page("limit=3&after=8") == ([9, 10], True, False)
    assert await page("limit=3&after=10") == ([], True, False)
    assert await page("limit=4&around=5") == ([3, 4, 5, 6], True, True)
    assert await page("limit=1&around=1") == ([1], False, True)
    assert await page("limit=4&around=10") == ([8, 9, 10], True, False)
    for query in ("limit=0", "limit=201", "before=0", "before=x", "before=3&after=1", "after=-1", "limit=5&limit=6", "x=1"):
        answer = await anna.request("GET", f"/rooms/{room}/messages?{query}", expect=400)
        assert answer.code == "invalid_request"


async def test_an_empty_room_has_an_empty_history(api: Api) -> None:
    anna = await api.register()
    room = await anna.room("private")
    assert await anna.get(f"/rooms/{room}/messages") == {
        "messages": [], "head_seq": 0, "has_before": False, "has_after": False,
    }  # fmt: skip
    assert await anna.get(f"/rooms/{room}/events") == {"events": [], "head_seq": 0, "has_more": False}


async def test_events_are_read_page_by_page(api: Api) -> None:
    anna = await api.register()
    room = await anna.room("private")
    for number in range(5):
        await anna.send(room, str(number))
    first = await anna.get(f"/rooms/{room}/events?since=1&limit=3")
    assert ([event["seq"] for event in first["events"]], first["has_more"]) == ([2, 3, 4], True)
    last = await anna.get(f"/rooms/{room}/events?since=4&limit=3")
    assert ([event["seq"] for event in last["events"]], last["has_more"]) == ([5], False)


@pytest.mark.parametrize("body", ["", " \n\t ", "x" * 8001, "a\x00b", "\x1b[2J", 7, None])
async def test_what_is_no_text_is_refused_and_nothing_is_written(api: Api, close_later: Keep, body: object) -> None:
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    with pytest.raises(Refused, match="invalid_request"):
        await socket.call("message.send", {"room": room, "client_id": "c", "body": body})
    rest = await anna.request("POST", f"/rooms/{room}/messages", {"client_id": "c", "body": body}, expect=400)
    assert rest.code == "invalid_request"
    assert (await anna.get(f"/rooms/{room}"))["head_seq"] == 0
    assert await socket.send(room, "x" * 8000) == 1


async def test_a_full_queue_says_overloaded_and_a_retry_succeeds(nodes: Nodes, close_later: Keep) -> None:
    api = await nodes.start(writer_queue=5, writer_lanes=1)
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    requests = [{"room": room, "client_id": f"c{number}", "body": "x"} for number in range(50)]
    answers = await asyncio.gather(*(socket.ask("message.send", request) for request in requests))
    refused = [request for request, answer in zip(requests, answers, strict=True) if not answer["ok"]]
    assert refused
    assert {answer["error"]["code"] for answer in answers if not answer["ok"]} == {"overloaded"}
    for request in refused:
        await socket.call("message.send", request)
    page = await anna.get(f"/rooms/{room}/messages?limit=100")
    assert sorted(message["client_id"] for message in page["messages"]) == sorted(one["client_id"] for one in requests)
