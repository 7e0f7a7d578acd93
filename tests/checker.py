"""The checker of what the project promises (DESIGN §2): no acked message lost, none doubled, one order for everybody."""

from __future__ import annotations

from typing import Any

_CHANGING = {"body", "edited_at", "deleted_at"}
"""Fields that show a message as it is now; the rest of an event never changes."""


def identity(event: dict[str, Any]) -> dict[str, Any]:
    """Return what is the same of an event whenever it is read."""
    return {key: value for key, value in event.items() if key not in _CHANGING}


def replay(events: list[dict[str, Any]]) -> dict[int, str]:
    """Apply events in order, as clients do; return the text of each message by seq, deleted ones left out."""
    texts: dict[int, str] = {}
    for event in events:
        if event["kind"] == "message.created" and "deleted_at" not in event:
            texts[event["seq"]] = event["body"]
        elif event["kind"] == "message.edited" and event["target"] in texts:
            texts[event["target"]] = event["body"]
        elif event["kind"] == "message.deleted":
            texts.pop(event["target"], None)
    return texts


def check(stored: list[dict[str, Any]], acked: dict[tuple[str, str], set[int]], readers: list[list[dict[str, Any]]]) -> None:
    """Fail unless everything holds.

    Args:
        stored: The events of one room, as the store has them.
        acked: For every (sender, client_id) that was acked, the seqs in its acks.
        readers: What each reader saw, in the order in which it saw it, from seq 1.
    """
    seqs = [event["seq"] for event in stored]
    assert seqs == list(range(1, len(seqs) + 1)), "the sequence is dense"
    by_request: dict[tuple[str, str], list[int]] = {}
    for event in stored:
        if event.get("client_id"):
            by_request.setdefault((event["actor"], event["client_id"]), []).append(event["seq"])
    doubled = {request: found for request, found in by_request.items() if len(found) > 1}
    assert not doubled, f"stored twice: {doubled}"
    for request, answers in acked.items():
        assert len(answers) == 1, f"{request} was acked with different numbers: {answers}"
        assert by_request.get(request) == list(answers), f"{request} was acked as {answers} and is {by_request.get(request)}"
    final = replay(stored)
    for reader in readers:
        assert [identity(event) for event in reader] == [identity(event) for event in stored], "every reader saw the same"
        assert replay(reader) == final, "every reader ends with the same texts"
