"""All operations of this server: each capability's rows, and those of the node itself."""

from __future__ import annotations

from collections.abc import Mapping

from realtime.auth.admin_operations import ADMINISTRATION
from realtime.auth.operations import ACCOUNTS, USERS
from realtime.messages import operations as messages
from realtime.messages.history_operations import HISTORY
from realtime.model import Scope
from realtime.node.status import Board
from realtime.operations import Auth, Caller, Operation, Rest, Row, Served, serve
from realtime.presence import operations as presence
from realtime.rooms import operations as rooms
from realtime.rooms.people_operations import PEOPLE
from realtime.surface.socket.live import LIVE
from realtime.wire import rest
from realtime.wire.types import Empty


async def status(board: Board, caller: Caller, _: Empty) -> rest.ClusterStatus:
    return board.view()


STATUS: tuple[Row, ...] = (
    Operation(
        name="status",
        summary="Get how every node is, with the last minutes, and which connections ended last and why.",
        request=Empty,
        handler=status,
        auth=Auth.ADMIN,
        scope=Scope.ADMIN_READ,
        rest=Rest(method="GET", path="/admin/status", tag="Administration", answers={200: rest.ClusterStatus}),
    ),
)
"""Served by `Board`."""

CAPABILITIES: Mapping[str, tuple[Row, ...]] = {
    "accounts": ACCOUNTS,
    "users": USERS,
    "presence": presence.OPERATIONS,
    "people": PEOPLE,
    "rooms": rooms.OPERATIONS,
    "writer": messages.OPERATIONS,
    "history": HISTORY,
    "live": LIVE,
    "board": STATUS,
    "administration": ADMINISTRATION,
}
"""The rows of each service, in the order of the documents. A capability is one line here, and its service one in `app`."""

OPERATIONS: tuple[Row, ...] = tuple(row for rows in CAPABILITIES.values() for row in rows)


def served(services: Mapping[str, object]) -> tuple[Served, ...]:
    """Join all operations to the services that serve them, named as in `CAPABILITIES`."""
    return tuple(one for name, rows in CAPABILITIES.items() for one in serve(rows, services[name]))
