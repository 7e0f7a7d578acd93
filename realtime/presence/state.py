"""Which users are on which nodes, and what a change means for those who watch. Pure.

A user is online while some living node holds them. A node's users are known by a snapshot and the changes after it, which
are numbered; a hole in the numbers means that a snapshot is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realtime.model import UserId


class NodeState:
    """What is known of one node: its users after its change number `version`, and until when it counts."""

    __slots__ = ("alive_until_s", "users", "version")

    def __init__(self, users: set[UserId], version: int, alive_until_s: float) -> None:
        self.users = users
        self.version = version
        self.alive_until_s = alive_until_s


class PresenceState:
    """The users of all nodes. Every method returns who came and went by it, as (user, online)."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeState] = {}
        self._counts: dict[UserId, int] = {}

    def is_online(self, user: UserId) -> bool:
        return user in self._counts

    @property
    def nodes(self) -> Iterable[str]:
        return self._nodes.keys()

    def replace(self, node: str, users: set[UserId], version: int, alive_until_s: float) -> list[tuple[UserId, bool]]:
        """Take a snapshot of a node."""
        known = self._nodes.get(node)
        before = known.users if known else set()
        self._nodes[node] = NodeState(set(users), version, alive_until_s)
        return self._count(users - before, before - users)

    def change(
        self, node: str, joined: set[UserId], left: set[UserId], version: int, alive_until_s: float
    ) -> list[tuple[UserId, bool]] | None:
        """Take a change of a node, or its sign of life (the same version, nobody).

        Returns:
            None when changes before this one are missing: read a snapshot.
        """
        known = self._nodes.get(node)
        if known is None or version > known.version + 1:
            return None
        known.alive_until_s = max(known.alive_until_s, alive_until_s)
        if version <= known.version:
            return []
        known.version = version
        came, went = joined - known.users, left & known.users
        known.users |= came
        known.users -= went
        return self._count(came, went)

    def drop(self, node: str) -> list[tuple[UserId, bool]]:
        """Forget a node."""
        known = self._nodes.pop(node, None)
        return self._count(set(), known.users) if known else []

    def end(self, node: str, until_s: float) -> None:
        """Let a node that says farewell count until then."""
        if node in self._nodes:
            self._nodes[node].alive_until_s = until_s

    def expire(self, now_s: float) -> list[tuple[UserId, bool]]:
        """Forget the nodes that gave no sign of life in time."""
        dead = [node for node, state in self._nodes.items() if state.alive_until_s <= now_s]
        return [change for node in dead for change in self.drop(node)]

    def extend(self, alive_until_s: float) -> None:
        """Let all nodes count until then at least: their signs of life could not arrive."""
        for state in self._nodes.values():
            state.alive_until_s = max(state.alive_until_s, alive_until_s)

    def _count(self, came: set[UserId], went: set[UserId]) -> list[tuple[UserId, bool]]:
        changes = []
        for user in came:
            count = self._counts.get(user, 0)
            self._counts[user] = count + 1
            if count == 0:
                changes.append((user, True))
        for user in went:
            count = self._counts[user] - 1
            if count:
                self._counts[user] = count
            else:
                del self._counts[user]
                changes.append((user, False))
        return changes
