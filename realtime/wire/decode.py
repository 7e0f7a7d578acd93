"""From bytes to a typed struct, with our errors. The one place where input is parsed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from realtime.errors import InvalidJson, InvalidRequest, RealtimeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_FLOAT = "got `float`"
_EXACT = 2**53 - 1
_value = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_LONGEST = 200  # of what is said about a field, since the name of an unknown one is the client's
_WHERE = re.compile(r" - at `([^`]*)`$")


def decode(decoder: Callable[[bytes], T], raw: bytes) -> T:
    """Decode JSON.

    Args:
        decoder: The `decode` of a `msgspec.json.Decoder`.
        raw: UTF-8.

    Raises:
        InvalidJson: not JSON, not UTF-8, a lone surrogate, or too deep.
        InvalidRequest: JSON of another shape; `field` names the place.
    """
    try:
        return decoder(raw)
    except msgspec.ValidationError as error:
        if _FLOAT in str(error):
            return _decode_whole(decoder, raw)
        raise invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error


def _decode_whole(decoder: Callable[[bytes], T], raw: bytes) -> T:
    """Decode JSON with whole numbers written `2.0` or `2e0`, as some languages write them: to JSON they are the same."""
    try:
        return decoder(_encode(_whole(_value(raw))))
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidJson from error


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    return value


def invalid(error: msgspec.ValidationError) -> RealtimeError:
    """Translate what msgspec says about a field that does not fit."""
    text = str(error)
    where = _WHERE.search(text)
    return InvalidRequest(_WHERE.sub("", text)[:_LONGEST] + ".", field=where.group(1) if where else None)
