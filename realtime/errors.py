"""The one error tree. Every refusal has a stable `code`, an HTTP status, and says whether a retry helps.

Clients branch on `code`, never on the text. Boundaries (`gateway`, `api`) translate a `RealtimeError` once.
`docs/errors.md` is generated from the classes below.
"""

from __future__ import annotations

from typing import ClassVar


class RealtimeError(Exception):
    """Base of all expected refusals.

    Args:
        message: One sentence for a developer: what is wrong and what to do. Never holds secrets or message texts.
        retry_after_ms: How long to wait before trying again, where that is known.
        field: The path of the offending field (`$.rooms[0].since`), where there is one.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default: ClassVar[str] = "The server failed. It has logged the reason."

    def __init__(self, message: str | None = None, *, retry_after_ms: int | None = None, field: str | None = None) -> None:
        super().__init__(message or self.default)
        self.message = message or self.default
        self.retry_after_ms = retry_after_ms
        self.field = field


class Internal(RealtimeError):
    pass


# -- the request itself ---------------------------------------------------------------------------


class InvalidJson(RealtimeError):
    code, status = "invalid_json", 400
    default = "The body is not valid JSON (RFC 8259, UTF-8, no lone surrogates, bounded depth)."


class InvalidRequest(RealtimeError):
    code, status = "invalid_request", 400
    default = "A field is missing, unknown, or has a value that is not allowed."


class PayloadTooLarge(RealtimeError):
    code, status = "payload_too_large", 413
    default = "The request is larger than this server accepts."


class HeadersTooLarge(RealtimeError):
    code, status = "headers_too_large", 431
    default = "The head of the request (its address and headers, cookies among them) is larger than this server accepts."


class UnsupportedMediaType(RealtimeError):
    code, status = "unsupported_media_type", 415
    default = "Send the body as application/json."


class NotFound(RealtimeError):
    code, status = "not_found", 404
    default = "There is no resource at this path."


class MethodNotAllowed(RealtimeError):
    code, status = "method_not_allowed", 405
    default = "This path does not support the method."


class UnknownEvent(RealtimeError):
    code, status = "unknown_event", 400
    default = "The server does not know this event name."


# -- who is asking --------------------------------------------------------------------------------


class TokenMissing(RealtimeError):
    code, status = "token_missing", 401
    default = "Sign in first: send the access token as `Authorization: Bearer …`, or as `auth: {token}` on a socket."


class TokenInvalid(RealtimeError):
    code, status = "token_invalid", 401
    default = "The access token is invalid. Sign in again."


class TokenExpired(RealtimeError):
    code, status = "token_expired", 401
    default = "The access token has expired. Get a new one with the refresh token."


class SessionEnded(RealtimeError):
    code, status = "session_ended", 401
    default = "The session was revoked. Sign in again."


class InvalidCredentials(RealtimeError):
    code, status = "invalid_credentials", 401
    default = "The username or the password is wrong."


class OriginNotAllowed(RealtimeError):
    """The answer to a page of an origin that the operator did not name, or behind a proxy that hides the host."""

    code, status = "origin_not_allowed", 403
    default = (
        "Pages of this origin may not connect. The operator must name the origin in ROOMWIRE_CORS_ORIGINS, or pass on the Host "
        "header."
    )


class WrongPassword(RealtimeError):
    code, status = "wrong_password", 403
    default = "The current password is incorrect."


class PasswordChangeRequired(RealtimeError):
    code, status = "password_change_required", 403
    default = "This password works once. Sign in with it and a `new_password`."


class PasswordTooWeak(RealtimeError):
    code, status = "password_too_weak", 400
    default = (
        "This password is common or soon guessed. Choose a longer one: a few words that do not belong together, or a password "
        "manager's."
    )


class RefreshTokenInvalid(RealtimeError):
    code, status = "refresh_token_invalid", 401
    default = "The refresh token is unknown, expired, or was used before. Sign in again."


class UsernameTaken(RealtimeError):
    code, status = "username_taken", 409
    default = "This username is taken."


# -- what they may do -----------------------------------------------------------------------------


class RoomNotFound(RealtimeError):
    """Also the answer for a room that the caller may not see, so that nobody can probe for rooms."""

    code, status = "room_not_found", 404
    default = "There is no such room, or you may not see it."


class UserNotFound(RealtimeError):
    code, status = "user_not_found", 404
    default = "There is no such user."


class SessionNotFound(RealtimeError):
    code, status = "session_not_found", 404
    default = "You have no such session, or it was revoked."


class AccountDisabled(RealtimeError):
    code, status = "account_disabled", 409
    default = "This account is disabled. Enable it first."


class MemberNotFound(RealtimeError):
    code, status = "member_not_found", 404
    default = "This user is not a member of the room."


class BanNotFound(RealtimeError):
    code, status = "ban_not_found", 404
    default = "This user is not banned from the room."


class BlockNotFound(RealtimeError):
    code, status = "block_not_found", 404
    default = "You do not block this user."


class MessageNotFound(RealtimeError):
    code, status = "message_not_found", 404
    default = "There is no message with this seq in the room, or it was deleted."


class NotAMember(RealtimeError):
    code, status = "not_a_member", 403
    default = "Join the room first."


class NotSubscribed(RealtimeError):
    code, status = "not_subscribed", 403
    default = "Subscribe to the room on this connection first."


class Banned(RealtimeError):
    code, status = "banned", 403
    default = "This user is banned from the room until an admin or owner lifts the ban."


class NotAddable(RealtimeError):
    code, status = "not_addable", 403
    default = "One of these users does not let you add them."


class RoomClosed(RealtimeError):
    code, status = "room_closed", 403
    default = "This direct room is closed to new messages."


class Forbidden(RealtimeError):
    code, status = "forbidden", 403
    default = "Your role in this room does not allow that."


class AdminOnly(RealtimeError):
    code, status = "admin_only", 403
    default = "Only administrators of the server may do that."


class LastAdmin(RealtimeError):
    code, status = "last_admin", 409
    default = "The server needs at least one administrator. Make another user an administrator first."


class LastOwner(RealtimeError):
    code, status = "last_owner", 409
    default = "A room needs at least one owner. Make another member an owner first."


class DirectRoomFixed(RealtimeError):
    code, status = "direct_room_fixed", 409
    default = "The two members of a direct room do not change."


class TooManyEdits(RealtimeError):
    code, status = "too_many_edits", 409
    default = "This message was edited too often. Delete it or send another."


class CursorReset(RealtimeError):
    code, status = "cursor_reset", 410
    default = "The database was restored since this cursor was made. Start without a cursor and read everything again."


class ClientIdConflict(RealtimeError):
    code, status = "client_id_conflict", 409
    default = "You used this client_id in this room for another kind of request. Use a new one for every request."


# -- how much and when ----------------------------------------------------------------------------


class RateLimited(RealtimeError):
    code, status, retryable = "rate_limited", 429, True
    default = "Too many requests. Wait and try again."


class QuotaExceeded(RealtimeError):
    code, status = "quota_exceeded", 403
    default = "You have reached the quota of a user."


class TooManySubscriptions(RealtimeError):
    code, status = "too_many_subscriptions", 429
    default = "This connection has reached its limit of subscriptions."


class TooManyConnections(RealtimeError):
    code, status, retryable = "too_many_connections", 429, True
    default = "This user or address has reached its limit of connections."


class NotStorable(RealtimeError):
    """A value that the store refuses.

    Args:
        sqlstate: Why, in PostgreSQL's words; the value itself is not told.
    """

    code, status = "not_storable", 422
    default = "The database cannot store a value of this request. Nothing was done; change the request."

    def __init__(self, message: str | None = None, *, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Overloaded(RealtimeError):
    code, status, retryable = "overloaded", 503, True
    default = "The server is busy. Nothing was done; try again in a moment."


class Unavailable(RealtimeError):
    code, status, retryable = "unavailable", 503, True
    default = "The database does not answer, and the request may or may not have been carried out. Retry with the same client_id."


class Draining(RealtimeError):
    code, status, retryable = "draining", 503, True
    default = "This node is shutting down. Reconnect."


def all_errors() -> list[type[RealtimeError]]:
    """Return every error class that has a code of its own, in the order of this file."""
    return [kind for kind in RealtimeError.__subclasses__() if "code" in kind.__dict__ or kind is Internal]


def refusal(code: str) -> RealtimeError:
    """Return a refusal by its code; `Forbidden` for a code of the rules that a newer release brought into the database."""
    return next((one for one in RealtimeError.__subclasses__() if one.__dict__.get("code") == code), Forbidden)()
