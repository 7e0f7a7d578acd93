"""The browser client and the probes."""

from __future__ import annotations

import asyncio
import gzip
import os
import pathlib

import pytest

from realtime.surface.rest import probes
from realtime.wire import rest

from .conftest import Client, Fake, Start


@pytest.fixture
def built(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "web"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>client</title>")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "assets" / "index-Ab_3.js").write_text("export {}")
    (folder / "assets" / "index-x.css").write_text("body {}")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


async def test_the_page_is_asked_for_again_each_time(start: Start, built: pathlib.Path) -> None:
    client = await start(static=built)
    answer = await client.get("/")
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (200, "text/html", "no-cache")
    assert "client" in await answer.text()
    again = await client.get("/", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304
    assert (await client.head("/")).status == 200


@pytest.mark.parametrize(("name", "kind"), [("index-Ab_3.js", "text/javascript"), ("index-x.css", "text/css")])
async def test_assets_are_kept_for_ever_since_their_names_hold_a_hash(
    start: Start, built: pathlib.Path, name: str, kind: str
) -> None:
    client = await start(static=built)
    answer = await client.get(f"/assets/{name}")
    assert (answer.status, answer.content_type) == (200, kind)
    assert "immutable" in answer.headers["Cache-Control"]


async def test_files_beside_the_page_are_served_and_asked_for_again(start: Start, built: pathlib.Path) -> None:
    client = await start(static=built)
    answer = await client.get("/favicon.svg")
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (200, "image/svg+xml", "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/gone.js",
        "/.hidden.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2findex.html",
        "/assets/",
        "/assets",
    ],
)
async def test_nothing_outside_the_folder_and_nothing_hidden_is_served(start: Start, built: pathlib.Path, path: str) -> None:
    client = await start(static=built)
    answer = await client.get(path)
    assert (answer.status, (await answer.json())["code"]) == (404, "not_found")
    assert "immutable" not in answer.headers["Cache-Control"]


@pytest.mark.parametrize("made", [True, False])
async def test_without_a_built_client_a_page_says_what_to_run(start: Start, tmp_path: pathlib.Path, made: bool) -> None:
    client = await start(static=tmp_path if made else None)
    answer = await client.get("/")
    assert (answer.status, answer.content_type) == (503, "text/html")
    assert "make setup" in await answer.text()
    assert (await client.get("/favicon.svg")).status == 404


async def test_the_process_lives_whatever_the_services_say(client: Client, fake: Fake) -> None:
    fake.fails = RuntimeError()
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_a_node_is_ready_when_its_parts_are(client: Client, fake: Fake) -> None:
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok", "checks": {"store": "ok"}})

    async def unready() -> rest.Health:
        return rest.Health(status="unready", checks={"store": "away"})

    fake.ready = unready
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (503, {"status": "unready", "checks": {"store": "away"}})


async def test_a_check_can_be_left_out(client: Client, fake: Fake) -> None:
    async def without_bus() -> rest.Health:
        return rest.Health(status="unready", checks={"store": "ok", "bus": "away"})

    fake.ready = without_bus
    for query, status, checks in (
        ("", 503, {"store": "ok", "bus": "away"}),
        ("?exclude=store", 503, {"bus": "away"}),
        ("?exclude=bus", 200, {"store": "ok"}),
        ("?exclude=bus&exclude=store", 200, {}),
        ("?exclude=nothing", 503, {"store": "ok", "bus": "away"}),
    ):
        answer = await client.get(f"/readyz{query}")
        assert (answer.status, (await answer.json()).get("checks", {})) == (status, checks)


async def test_a_check_that_hangs_or_fails_means_unready(client: Client, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> rest.Health:
        await asyncio.Event().wait()
        raise AssertionError

    async def fails() -> rest.Health:
        raise ConnectionError("postgresql://user:secret@host")

    monkeypatch.setattr(probes, "READY_TIMEOUT_S", 0.02)
    for check in (hangs, fails):
        fake.ready = check
        answer = await client.get("/readyz")
        assert (answer.status, (await answer.json())["status"]) == (503, "unready")
        assert "secret" not in await answer.text()


async def test_prometheus_gets_its_page_with_its_content_type(client: Client) -> None:
    answer = await client.get("/metrics")
    assert (await answer.text(), answer.headers["Content-Type"]) == ("up 1\n", "text/plain; version=1.0.0; charset=utf-8")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("br, gzip", "br"), ("gzip, br", "br"), ("gzip", "gzip"), ("GZIP;q=0.5", "gzip"), ("*", "br"), ("br;q=0, gzip;q=1", "gzip"),
     ("br;q=0.0, gzip; q = 0", None), ("*;q=0, gzip", "gzip"), ("deflate, brotli", None), ("identity", None), (None, None)],
)  # fmt: skip
async def test_what_the_build_compressed_is_served_to_whom_takes_it(
    start: Start, built: pathlib.Path, accepted: str | None, coding: str | None
) -> None:
    asset = built / "assets" / "index-Ab_3.js"
    for one in (asset, built / "index.html"):
        one.with_name(one.name + ".br").write_bytes(b"as br of " + one.name.encode())
        one.with_name(one.name + ".gz").write_bytes(gzip.compress(one.read_bytes()))
    client = await start(static=built)
    client.session._auto_decompress = False
    tags = set()
    for path, file in (("/assets/index-Ab_3.js", asset), ("/", built / "index.html")):
        answer = await client.get(path, headers={"Accept-Encoding": accepted or ""}, skip_auto_headers=["Accept-Encoding"])
        plain = file.read_bytes()
        expected = {None: plain, "br": b"as br of " + file.name.encode(), "gzip": gzip.compress(plain)}[coding]
        body = await answer.read()
        assert (answer.status, answer.headers.get("Content-Encoding"), answer.headers["Vary"]) == (200, coding, "Accept-Encoding")
        assert body == expected or gzip.decompress(body) == plain
        assert answer.content_type == ("text/javascript" if file is asset else "text/html")
        tags.add(answer.headers["ETag"])
        again = await client.get(path, headers={"Accept-Encoding": accepted or "", "If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.headers["Vary"]) == (304, "Accept-Encoding")
    assert len(tags) == 2


async def test_an_asset_that_is_gone_is_no_page_and_kept_by_nobody(start: Start, built: pathlib.Path) -> None:
    answer = await (await start(static=built)).get("/assets/index-old.js")
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (404, "application/problem+json", "no-store")


async def test_a_page_of_another_release_is_another_page_whatever_its_time_and_size(start: Start, built: pathlib.Path) -> None:
    """Images and packages that are made reproducibly give all files one time."""
    client = await start(static=built)
    tag = (await client.get("/")).headers["ETag"]
    page = built / "index.html"
    before = page.stat()
    page.write_text("<!doctype html><title>CLIENT</title>")
    os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert page.stat().st_size == before.st_size
    answer = await client.get("/", headers={"If-None-Match": tag})
    assert (answer.status, "CLIENT" in await answer.text()) == (200, True)
