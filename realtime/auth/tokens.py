"""Access tokens: signed JWTs after RFC 9068 (`typ: at+jwt`), and refresh tokens. Pure: time and keys are arguments."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, NamedTuple

import jwt
from jwt.types import Options

from realtime.errors import RefreshTokenInvalid, TokenExpired, TokenInvalid
from realtime.model import Principal, SessionId, User, UserId, is_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "HS256"
TYPE = "at+jwt"
VERSION = 1
"""Of the claims: `ver` in a token. A reader takes a new version one release before anybody issues it."""
_REQUIRED = ["iss", "aud", "sub", "sid", "exp", "iat", "preferred_username", "name"]
_OPTIONS = Options(require=_REQUIRED, verify_exp=False, verify_iat=False, verify_nbf=False)  # time is an argument
_PREFIX = "rt_"
SECRET_BYTES = 32


class Claims(NamedTuple):
    """Whom tokens are made by and for."""

    issuer: str
    audience: str


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
    try:
        header = jwt.get_unverified_header(token)
        secret = secrets.get(str(header.get("kid")))
        if secret is None or str(header.get("typ")).lower() != TYPE:
            raise TokenInvalid
        found = jwt.decode(
            token, secret, algorithms=[ALGORITHM], audience=claims.audience, issuer=claims.issuer, options=_OPTIONS
        )
        expires_at_s = int(found["exp"])
        user, session = str(found["sub"]), str(found["sid"])
        version = found.get("ver", 1)  # nodes of the release before wrote none
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        # ValueError covers what the library lets through: lone surrogates, digits without end.
        raise TokenInvalid from error
    if not is_uuid(user) or not is_uuid(session) or version != VERSION:
        raise TokenInvalid
    if expires_at_s <= now_s:
        raise TokenExpired
    account = User(UserId(user), str(found["preferred_username"]), str(found["name"]))
    return Principal(account, SessionId(session), expires_at_s)


class RefreshToken(NamedTuple):
    """A refresh token: which session, and a secret of which only the hash is stored."""

    session: SessionId
    secret: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256; the secret has 256 random bits, so nothing slower is needed."""
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
