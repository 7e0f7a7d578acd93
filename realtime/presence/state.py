"""Which users are on which nodes, and how others see them. Pure.

A user is there while some living node shows them. A node's users are known by a snapshot and the changes after it, which
are numbered; a hole in the numbers means that a snapshot is due. Who is invisible is shown by no node: for everybody else
that is the same as not being there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.model import Choice, PresenceSetting, Status, UserId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_LAST_SEEN = 50_000


class Entry(NamedTuple):
    """One user as one node shows them: what they chose, and whether all their connections there are idle.

    Nodes may disagree on what was chosen for a moment; the higher version is right. `choice` is a `Choice`, or one that only
    newer nodes know.
    """

    choice: str = Choice.ONLINE
    idle: bool = False
    text: str = ""
    text_until_s: float | None = None
    version: int = 0


PLAIN = Entry()
"""Most people most of the time: one object for all of them."""


_STATUS: dict[str, Status] = {
    Choice.ONLINE: Status.ONLINE,
    Choice.AWAY: Status.AWAY,
    Choice.DND: Status.DND,
    Choice.INVISIBLE: Status.OFFLINE,
}
"""What others see. A newer node that shows a user as this one cannot name has decided to show them: they are there."""


def hides(choice: str) -> bool:
    """Tell whether a user who chose this is not shown. What only newer nodes know may hide them, so it does until they say."""
    return _STATUS.get(choice, Status.OFFLINE) is Status.OFFLINE


class View(NamedTuple):
    """One user as others see them. Times are Unix seconds."""

    user: UserId
    status: Status
    text: str = ""
    text_until_s: float | None = None
    last_seen_s: float | None = None


class NodeState:
    """What is known of one node: its users after its change number `version`, when it was heard, and until when it counts."""

    __slots__ = ("alive_until_s", "users", "version")

    def __init__(self, users: dict[UserId, Entry], version: int, alive_until_s: float) -> None:
        self.users = users
        self.version = version
        self.alive_until_s = alive_until_s


class PresenceState:
    """The users of all nodes. Methods that change it return whom others see differently by that."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeState] = {}
        self._last_seen_s: dict[UserId, float] = {}  # of some who went lately: what the store may not say yet
        self._texts: dict[UserId, float] = {}  # when texts are over

    def __contains__(self, user: UserId) -> bool:
        """Whether some node shows the user."""
        return any(user in node.users for node in self._nodes.values())

    @property
    def nodes(self) -> Iterable[str]:
        return self._nodes.keys()

    @property
    def users(self) -> set[UserId]:
        """Everybody who is there."""
        return set[UserId]().union(*(node.users for node in self._nodes.values()))

    def view(self, user: UserId, now_s: float, stored_s: float | None = None) -> View:
        """Tell how others see a user.

        Args:
            now_s: Unix seconds.
            stored_s: When the store says that the user was last seen.
        """
        entry = self._merged(user)
        if entry is None:
            seen_s = self._last_seen_s.get(user)
            return View(user, Status.OFFLINE, last_seen_s=stored_s if seen_s is None else max(seen_s, stored_s or 0.0))
        status = _STATUS.get(entry.choice, Status.ONLINE)
        if entry.idle and status is Status.ONLINE:
            status = Status.AWAY
        if not entry.text or (entry.text_until_s is not None and entry.text_until_s <= now_s):
            return View(user, status)
        return View(user, status, entry.text, entry.text_until_s)

    def setting(self, user: UserId) -> PresenceSetting | None:
        """Return what a user chose, as the nodes that show them know it; None: nobody does."""
        entry = self._merged(user)
        return None if entry is None else PresenceSetting(entry.choice, entry.text, entry.text_until_s, entry.version)

    def _merged(self, user: UserId) -> Entry | None:
        entries = [node.users[user] for node in self._nodes.values() if user in node.users]
        if len(entries) < 2:
            return entries[0] if entries else None
        return max(entries, key=lambda entry: entry.version)._replace(idle=all(entry.idle for entry in entries))

    # -- what nodes say ---------------------------------------------------------------------------

    def replace(self, node: str, users: Mapping[UserId, Entry], version: int, alive_until_s: float) -> list[UserId]:
        """Take a snapshot of a node."""
        known = self._nodes.get(node)
        before = known.users if known else {}
        touched = [user for user in {**before, **users} if before.get(user) != users.get(user)]
        return self._put(NodeState(dict(users), version, alive_until_s), node, touched)

    def change(
        self,
        node: str,
        shown: Mapping[UserId, Entry],
        left: Mapping[UserId, float | None],
        version: int,
        alive_until_s: float,
    ) -> list[UserId] | None:
        """Take a change of a node, or its sign of life (the same version, nobody).

        Args:
            shown: Who came, or is to be seen in another way.
            left: Who went, and when they were last seen, Unix seconds.

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
        users, before = [*shown, *left], {user: self._merged(user) for user in (*shown, *left)}
        known.users.update(shown)
        for user, seen_s in left.items():
            known.users.pop(user, None)
            if seen_s is not None:
                self._saw(user, seen_s)
        return self._changed(users, before)

    def adopt(self, node: str, version: int) -> None:
        """Take the changes of a node from this one on, though earlier ones are missing and cannot be read."""
        known = self._nodes.setdefault(node, NodeState({}, version - 1, 0.0))
        known.version = max(known.version, version - 1)

    def drop(self, node: str, seen_s: float) -> list[UserId]:
        """Forget a node; whoever was there alone was last seen at that time (Unix seconds)."""
        known = self._nodes.get(node)
        if known is None:
            return []
        for user in known.users:
            self._saw(user, seen_s)
        return self._put(None, node, list(known.users))

    def end(self, node: str, until_s: float) -> None:
        """Let a node that says farewell count until then."""
        if node in self._nodes:
            self._nodes[node].alive_until_s = until_s

    def dead(self, now_s: float) -> list[str]:
        """Return the nodes that gave no sign of life in time."""
        return [node for node, state in self._nodes.items() if state.alive_until_s <= now_s]

    def extend(self, alive_until_s: float) -> None:
        """Let all nodes count until then at least: their signs of life could not arrive."""
        for state in self._nodes.values():
            state.alive_until_s = max(state.alive_until_s, alive_until_s)

    def texts_over(self, now_s: float) -> list[UserId]:
        """Return whose text has come to its end (Unix seconds), once each."""
        over = [user for user, until_s in self._texts.items() if until_s <= now_s]
        for user in over:
            del self._texts[user]
        return over

    def _put(self, state: NodeState | None, node: str, touched: list[UserId]) -> list[UserId]:
        before = {user: self._merged(user) for user in touched}
        if state is None:
            del self._nodes[node]
        else:
            self._nodes[node] = state
        return self._changed(touched, before)

    def _changed(self, touched: Iterable[UserId], before: Mapping[UserId, Entry | None]) -> list[UserId]:
        found = []
        for user in touched:
            entry = self._merged(user)
            if entry == before[user]:
                continue
            found.append(user)
            if entry is not None:
                self._last_seen_s.pop(user, None)
            if entry is None or entry.text_until_s is None:
                self._texts.pop(user, None)
            else:
                self._texts[user] = entry.text_until_s
        return found

    def _saw(self, user: UserId, at_s: float) -> None:
        self._last_seen_s[user] = max(at_s, self._last_seen_s.pop(user, 0.0))
        if len(self._last_seen_s) > _MAX_LAST_SEEN:
            del self._last_seen_s[next(iter(self._last_seen_s))]
