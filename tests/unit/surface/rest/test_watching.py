"""Who may read the metrics, and how requests are named."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from .conftest import ROOM, TOKEN, Client, Fake

SCRAPE_TOKEN = "0123456789abcdef0123"
LOCAL, ELSEWHERE = ["127.0.0.0/8"], ["192.0.2.0/24"]


@pytest.mark.parametrize(
    ("networks", "trusted", "headers", "status"),
    [
        (LOCAL, [], {}, 200),
        (ELSEWHERE, [], {}, 403),
        ([], [], {}, 403),
        (LOCAL, [], {"X-Forwarded-For": "203.0.113.9"}, 403),
        (LOCAL, [], {"X-Forwarded-For": "127.0.0.1"}, 403),
        (LOCAL, [], {"Forwarded": "for=203.0.113.9"}, 403),
        (LOCAL, [], {"Via": "1.1 proxy"}, 403),
        (LOCAL, LOCAL, {"X-Forwarded-For": "203.0.113.9"}, 403),
        (LOCAL, LOCAL, {"X-Forwarded-For": "127.0.0.9"}, 200),
        (LOCAL, LOCAL, {"X-Forwarded-For": "unknown"}, 403),
        (LOCAL, LOCAL, {"Forwarded": "for=203.0.113.9"}, 403),
        (ELSEWHERE, LOCAL, {"X-Forwarded-For": "192.0.2.7"}, 200),
        (ELSEWHERE, LOCAL, {"X-Forwarded-For": "192.0.2.7, 203.0.113.9"}, 403),
        (ELSEWHERE, [], {"Authorization": f"Bearer {SCRAPE_TOKEN}"}, 200),
        (LOCAL, [], {"Authorization": f"Bearer {SCRAPE_TOKEN}", "X-Forwarded-For": "203.0.113.9"}, 200),
        (ELSEWHERE, [], {"Authorization": "Bearer 0123456789abcdef0124"}, 403),
        (ELSEWHERE, [], {"Authorization": "Bearer "}, 403),
    ],
)
async def test_metrics_are_for_some_networks_and_who_has_the_token(
    start: Any, networks: list[str], trusted: list[str], headers: dict[str, str], status: int
) -> None:
    client: Client = await start(scrapers=networks, trusted=trusted, scrape_token=SCRAPE_TOKEN)
    answer = await client.get("/metrics", headers=headers)
    assert answer.status == status
    if status == 403:
        assert (await answer.json())["code"] == "forbidden"


async def test_without_a_token_no_token_counts(start: Any) -> None:
    client: Client = await start(scrapers=ELSEWHERE)
    for value in ("Bearer ", "Bearer x", ""):
        assert (await client.get("/metrics", headers={"Authorization": value})).status == 403


async def test_every_answer_names_its_request(client: Client) -> None:
    paths = ("/healthz", f"/api/v1/rooms/{ROOM}", "/nowhere", "/api/docs")
    names = [(await client.get(path, headers=TOKEN)).headers["X-Request-Id"] for path in paths]
    assert len(set(names)) == len(names) and all(len(name) == 16 for name in names)


@pytest.mark.parametrize(
    ("trusted", "given", "kept"),
    [
        (LOCAL, "abcd-1234", True),
        ([], "abcd-1234", False),
        (LOCAL, "short", False),
        (LOCAL, "a b c d e f g", False),
        (LOCAL, "x" * 65, False),
        (LOCAL, "<script>alert</script>", False),
    ],
)
async def test_a_trusted_proxy_may_name_a_request(start: Any, trusted: list[str], given: str, kept: bool) -> None:
    client: Client = await start(trusted=trusted)
    answer = await client.get("/healthz", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) is kept


async def test_a_failure_is_logged_once_under_the_name_that_the_client_gets(
    client: Client, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails = ValueError("what somebody wrote")
    with caplog.at_level(logging.DEBUG, "realtime"):
        answer = await client.get(f"/api/v1/rooms/{ROOM}", headers=TOKEN)
    assert answer.status == 500
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failed) == 1
    told = [record for record in caplog.records if record.getMessage() == "request"]
    assert [(one.route, one.status, one.method) for one in told] == [("/api/v1/rooms/{room}", 500, "GET")]  # type: ignore[attr-defined]
    assert ROOM not in str([vars(record) for record in caplog.records if record.name.startswith("realtime")])
