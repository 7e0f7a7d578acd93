"""The places for counts of large rooms are shared out among users."""

from __future__ import annotations

from typing import Any, cast

from realtime.model import RoomId, UserId
from realtime.presence import counts
from realtime.presence.counts import RoomCounts

ANN, BOB, CEM = UserId("a"), UserId("b"), UserId("c")


class Store:
    async def members(self, room: RoomId, at_most: int) -> list[UserId]:
        return [ANN, BOB]


def made() -> RoomCounts:
    return RoomCounts(cast("Any", Store()), lambda: 0.0, lambda: {ANN})


async def look(found: RoomCounts, asker: UserId, count: int) -> list[RoomId]:
    """Return which of so many rooms are counted."""
    rooms = [RoomId(f"{asker}{number}") for number in range(count)]
    return [room for room in rooms if await found.add(room, asker)]


async def test_one_user_takes_no_place_from_others() -> None:
    found = made()
    assert len(await look(found, ANN, 300)) == counts._ROOMS_AT_MOST
    assert len(await look(found, BOB, 300)) == counts._ROOMS_AT_MOST // 2
    assert len([one for one in (f"{ANN}{number}" for number in range(300)) if RoomId(one) in found]) == counts._ROOMS_AT_MOST // 2
    assert len(await look(found, CEM, 10)) == 10
    assert found.online(RoomId(f"{CEM}0")) == 1


async def test_a_room_that_is_counted_already_takes_no_place() -> None:
    found = made()
    await look(found, ANN, 300)
    assert await found.add(RoomId(f"{ANN}0"), BOB)
    assert len(await look(found, BOB, 1)) == 1
