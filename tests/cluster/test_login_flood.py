"""A flood of sign-ins, with the real cost of a password: the rest of the server does not feel it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import psutil

from tests.client import Api, unique
from tests.process import serving

if TYPE_CHECKING:
    from realtime.store.provision import Urls
    from tests.conftest import Engines

FLOOD = 500
MIB = 1 << 20


async def lags(http: aiohttp.ClientSession, url: str) -> dict[float, float]:
    """Read how many samples of the loop's lag were at most so long, by seconds."""
    async with http.get(f"{url}/metrics") as response:
        page = await response.text()
    found = re.findall(r'^roomwire_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', page, re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}


async def test_of_500_sign_ins_at_once_a_few_are_checked_and_the_rest_are_told_when_to_come_back(
    running_engines: Engines, own_database: Urls
) -> None:
    where = {"database_url": own_database.application, "migrate_database_url": own_database.owner,
             "redis_url": running_engines.redis, "redis_prefix": unique(),
             "address_login_rate_per_min": 100_000}  # fmt: skip
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, serving(**where) as server:
        api = Api(http, server.url)
        await api.register()
        before = await lags(http, server.url)
        started_bytes = psutil.Process(server.pid).memory_info().rss
        answers = await asyncio.gather(
            *(api.request("POST", "/auth/login", {"username": f"nobody{number}", "password": "wrong password"})
              for number in range(FLOOD))
        )  # fmt: skip
        after = await lags(http, server.url)
        assert Counter(answer.status for answer in answers).keys() == {401, 503}
        refused = [answer for answer in answers if answer.status == 503]
        assert len(refused) >= FLOOD - 100
        assert all(answer.code == "overloaded" and int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        samples = after[float("inf")] - before[float("inf")]
        late = samples - (after[0.1] - before[0.1])
        assert samples >= 5, "the flood lasts long enough to be seen"
        # Measured: none above 25 ms. One is forgiven to a machine that is busy with something else.
        assert late <= 1, f"{late:.0f} of {samples:.0f} samples of the loop's lag were over 100 ms"
        # Two threads of 64 MiB each, and what 500 open connections need.
        assert psutil.Process(server.pid).memory_info().rss - started_bytes < 300 * MIB
