"""Why a task of the sandbox has no answer. Pure."""

from __future__ import annotations

import enum
import signal

from realtime.sandbox.frames import Status


class Reason(enum.StrEnum):
    """Values of a metric's label, and what callers decide by."""

    REFUSED = "refused"
    FAILED = "failed"
    CRASHED = "crashed"
    MEMORY = "memory"
    TIME = "time"
    LARGE = "large"
    OVERLOADED = "overloaded"
    CLOSED = "closed"


_SENTENCES = {
    Reason.REFUSED: "The data is not of the kind that it is said to be.",
    Reason.FAILED: "The function failed on this data.",
    Reason.CRASHED: "The process that worked on this data crashed.",
    Reason.MEMORY: "This data needs more memory than allowed.",
    Reason.TIME: "This data needs more time than allowed.",
    Reason.LARGE: "The data or its answer is larger than allowed.",
    Reason.OVERLOADED: "Too many tasks wait already.",
    Reason.CLOSED: "The server is stopping.",
}
OF_STATUS = {
    Status.REFUSED: Reason.REFUSED,
    Status.FAILED: Reason.FAILED,
    Status.MEMORY: Reason.MEMORY,
    Status.LARGE: Reason.LARGE,
}
_OF_SIGNAL: dict[int, Reason] = {signal.SIGXCPU: Reason.TIME, signal.SIGKILL: Reason.MEMORY}
"""SIGKILL comes from the kernel when the machine's or the container's memory is full: what we kill has been told already."""


class Refused(Exception):
    """No answer. The text is a fixed sentence: it holds nothing of the data.

    Args:
        reason: Why.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(_SENTENCES[reason])
        self.reason = reason

    @property
    def retryable(self) -> bool:
        """Whether the same data may be worth another try."""
        return self.reason in (Reason.OVERLOADED, Reason.CLOSED)


def of_exit(status: int) -> Reason:
    """Say why a process ended by itself, by its exit status as `subprocess` gives it."""
    return _OF_SIGNAL.get(-status, Reason.CRASHED)
