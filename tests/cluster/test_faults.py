"""The quick set of the fault laboratory: three real nodes, and the checker over everything that their clients saw.

`FAULTS_SEED` gives another seed than the usual one. `make faults` runs all of it, with the numbers of connections and the
times that the promises speak of.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.cluster.lab import runner
from tests.cluster.lab.cluster import Cluster, Unsupported
from tests.cluster.lab.scenarios import BY_NAME
from tests.process import readable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

QUICK = ["node_killed", "redis_5_s", "postgres_killed", "lost_acks", "storm", "disk_full"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One for all: each scenario leaves it as it found it, and has people and rooms of its own."""
    async with Cluster(readable(tmp_path_factory.mktemp("lab"))).open() as cluster:
        yield cluster


@pytest.mark.parametrize("name", QUICK)
async def test_every_promise_holds_while(cluster: Cluster, name: str) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "1"))
    try:
        result = await runner.run(cluster, BY_NAME[name], runner.Size(), seed)
    except Unsupported as why:
        pytest.skip(str(why))
    assert not result.violations, f"seed {seed}: {result.violations[:10]}"
    # Faults are short here and the machine may be busy: latencies are for `make faults`, coming back is for everybody.
    failed = {name: result.over[name] for name in ("ready_again_s", "resume_p99_s", "answer_max_s") if name in result.over}
    assert not failed, f"seed {seed}: {failed}"
    assert result.figures["acked"] > 50 and result.figures["deliveries"] > 200, "there was something to be seen"
