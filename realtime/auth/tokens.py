"""Access tokens: signed JWTs after RFC 9068 (`typ: at+jwt`), and refresh tokens. Pure: time and keys are arguments."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import jwt
import msgspec

from realtime.auth import scopes
from realtime.errors import RefreshTokenInvalid, TokenExpired, TokenInvalid
from realtime.model import Principal, PrincipalKind, SessionId, User, UserId, is_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "HS256"
TYPE = "at+jwt"
VERSION = 1
"""Of the claims: `ver` in a token. A reader takes a new version one release before anybody issues it."""
_jws = jwt.PyJWS([ALGORITHM])
_PREFIX = "rt_"
SECRET_BYTES = 32


class Claims(NamedTuple):
    """Whom tokens are made by and for."""

    issuer: str
    audience: str


class _Header(msgspec.Struct, frozen=True):
    kid: str
    typ: str


class _Payload(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    sub: str
    sid: str
    iat: int
    exp: int
    preferred_username: str
    name: str
    ver: int = 1  # nodes of the release before wrote none
    scope: str | None = None
    """RFC 9068 §2.2.3; nodes write none: a sign-in has every scope. A token that a newer node narrowed stays narrow here."""


_header = msgspec.json.Decoder(_Header).decode
_payload = msgspec.json.Decoder(_Payload).decode


def issue(claims: Claims, kid: str, secret: bytes, user: User, session: SessionId, now_s: int, ttl_s: int) -> str:
    """Sign an access token.

    Args:
        kid, secret: The key.
        now_s: Unix seconds.
        ttl_s: Its life.
    """
    payload = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": user.id,
        "sid": session,
        "iat": now_s,
        "exp": now_s + ttl_s,
        "preferred_username": user.username,
        "name": user.display_name,
        "ver": VERSION,
    }
    return jwt.encode(payload, secret, ALGORITHM, headers={"kid": kid, "typ": TYPE})


def verify(claims: Claims, secrets: Mapping[str, bytes], token: str, now_s: float) -> Principal:
    """Check an access token.

    Args:
        secrets: The keys by id.
        now_s: Unix seconds.

    Raises:
        TokenExpired: it was one of ours and is over.
        TokenInvalid: anything else is wrong with it.
    """
    secret = secrets.get(_key_id(token.partition(".")[0]))
    if secret is None:
        raise TokenInvalid
    try:
        found = _payload(_jws.decode(token, secret, [ALGORITHM]))
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        # ValueError: the payload is of another shape, or the text has what no token has (lone surrogates).
        raise TokenInvalid from error
    if (found.iss, found.aud, found.ver) != (claims.issuer, claims.audience, VERSION):
        raise TokenInvalid
    if not is_uuid(found.sub) or not is_uuid(found.sid):
        raise TokenInvalid
    if found.exp <= now_s:
        raise TokenExpired
    user = User(UserId(found.sub), found.preferred_username, found.name)
    wanted = None if found.scope is None else found.scope.split()
    return Principal(PrincipalKind.SESSION, found.sid, user, scopes.granted(PrincipalKind.SESSION, wanted), found.exp)


class Keys(Protocol):
    """The keys by id, and the one to sign with: its id and secret. Raises Unavailable when none was read."""

    @property
    def secrets(self) -> Mapping[str, bytes]: ...
    @property
    def signing(self) -> tuple[str, bytes]: ...


class AccessTokens:
    """The access tokens of sign-ins here: issued, and an `authenticator.Verifier` of them.

    Args:
        ttl_s: Their life.
    """

    def __init__(self, claims: Claims, keys: Keys, ttl_s: int) -> None:
        self.ttl_s = ttl_s
        self._claims = claims
        self._keys = keys

    def issue(self, user: User, session: SessionId, now_s: float) -> str:
        """Sign one. Raises Unavailable."""
        return issue(self._claims, *self._keys.signing, user, session, int(now_s), self.ttl_s)

    def verify(self, token: str, now_s: float) -> Principal:
        """Check one. Raises TokenExpired, TokenInvalid."""
        return verify(self._claims, self._keys.secrets, token, now_s)


@functools.lru_cache(maxsize=64)
def _key_id(header: str) -> str:
    """Read which key a token says it is signed with; all tokens of one key have the same header.

    Without this and with the claims taken apart by the library too, a check costs 1.5 times as much.

    Raises:
        TokenInvalid: it is no header of ours.
    """
    try:
        found = _header(base64.urlsafe_b64decode(header + "=="))
    except (ValueError, RecursionError) as error:
        raise TokenInvalid from error
    if found.typ.lower() != TYPE:
        raise TokenInvalid
    return found.kid


class RefreshToken(NamedTuple):
    """A refresh token: which session, and a secret of which only the hash is stored."""

    session: SessionId
    secret: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256; the secret has 160 random bits, so nothing slower is needed."""
        return hashlib.sha256(self.secret).digest()

    def __str__(self) -> str:
        secret = base64.urlsafe_b64encode(self.secret).rstrip(b"=").decode()
        return f"{_PREFIX}{self.session.replace('-', '')}_{secret}"

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """Read what `str` wrote.

        Raises:
            RefreshTokenInvalid: it is not of this form.
        """
        session, separator, secret = text.removeprefix(_PREFIX).partition("_")
        uuid = f"{session[:8]}-{session[8:12]}-{session[12:16]}-{session[16:20]}-{session[20:]}"
        if not text.startswith(_PREFIX) or not separator or not is_uuid(uuid):
            raise RefreshTokenInvalid
        try:
            raw = base64.b64decode(secret + "=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise RefreshTokenInvalid from error
        if len(raw) != SECRET_BYTES:
            raise RefreshTokenInvalid
        return cls(SessionId(uuid), raw)
