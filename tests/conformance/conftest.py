"""Nothing that a protocol test opened outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import RawSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
async def close_raw_sockets() -> AsyncIterator[None]:
    yield
    await RawSocket.close_all()
