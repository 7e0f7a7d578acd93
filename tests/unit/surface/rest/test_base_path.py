"""Served below a path: every address that an answer holds is relative, so it is right wherever a proxy puts the server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from .conftest import TOKEN, Client, Start

if TYPE_CHECKING:
    import pathlib

BASE = "/tools/chat"


@pytest.fixture
async def below(start: Start, tmp_path: pathlib.Path) -> Client:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "app-1234.js").write_text("0")
    (tmp_path / "index.html").write_text('<script type="module" src="./assets/app-1234.js"></script>')
    (tmp_path / "favicon.svg").write_text("<svg/>")
    return await start(base_path=BASE, static=tmp_path, cors_origins=["https://app.example"])


@pytest.mark.parametrize("base", ["", BASE])
@pytest.mark.parametrize("path", ["/", "/assets/app-1234.js", "/favicon.svg", "/api/docs", "/api/v1/me", "/healthz", "/metrics"])
async def test_everything_is_there_below_the_path_and_at_the_root(below: Client, base: str, path: str) -> None:
    answer = await below.get(base + path, headers=TOKEN)
    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_path_without_its_slash_leads_to_the_page(below: Client) -> None:
    answer = await below.get(BASE, allow_redirects=False)
    assert (answer.status, urljoin(f"https://host{BASE}", answer.headers["Location"])) == (308, f"https://host{BASE}/")


@pytest.mark.parametrize("page", ["/", "/api/docs"])
async def test_every_link_of_a_page_leads_somewhere_below_the_path(below: Client, page: str) -> None:
    text = await (await below.get(BASE + page)).text()
    links = [link for link in re.findall(r'(?:href|src)="([^"#]+)"', text) if "://" not in link]
    assert links
    for link in links:
        address = urljoin(BASE + page, link)
        assert address.startswith(f"{BASE}/"), link
        assert (await below.get(address)).status == 200, link


async def test_the_page_that_is_not_built_links_below_the_path_too(start: Start) -> None:
    client = await start(base_path=BASE)
    text = await (await client.get(f"{BASE}/")).text()
    [link] = re.findall(r'href="([^"]+)"', text)
    assert urljoin(f"{BASE}/", link) == f"{BASE}/api/docs"


async def test_documents_and_locations_are_relative(below: Client) -> None:
    address = f"https://host{BASE}/api/openapi.json"
    [server] = json.loads(await (await below.get(f"{BASE}/api/openapi.json")).text())["servers"]
    assert urljoin(address, server["url"]).rstrip("/") == f"https://host{BASE}"
    made = await below.post(f"{BASE}/api/v1/rooms", json={"kind": "public", "name": "tea"}, headers=TOKEN)
    assert made.status == 201
    assert urljoin(f"{BASE}/api/v1/rooms", made.headers["Location"]).startswith(f"{BASE}/api/v1/rooms/")


async def test_pages_elsewhere_are_answered_below_the_path(below: Client) -> None:
    origin = {"Origin": "https://app.example"}
    answer = await below.get(f"{BASE}/api/v1/me", headers={**TOKEN, **origin})
    preflight = await below.options(f"{BASE}/api/v1/me", headers={**origin, "Access-Control-Request-Method": "GET"})
    assert [one.headers["Access-Control-Allow-Origin"] for one in (answer, preflight)] == ["https://app.example"] * 2


async def test_what_is_not_there_is_no_page_and_kept_by_nobody(below: Client) -> None:
    for path in ("/assets/app-0000.js", f"{BASE}/assets/app-0000.js", f"{BASE}/nothing"):
        answer = await below.get(path)
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
        assert answer.headers["Content-Type"] == "application/problem+json"
