"""Served below a path by the real nginx (`https://host/chat/`), which takes the path off, or leaves it in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.client import Api
from tests.cluster.test_balancers import answers
from tests.conformance.official import driving
from tests.process import serving
from tools.cluster import find

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator

    from realtime.store.provision import Urls
    from tests.conftest import Engines

pytestmark = pytest.mark.skipif(find("nginx") is None, reason="nginx is not here: install its Debian package")

CONFIG = """
pid {folder}/nginx.pid; error_log stderr; worker_processes 1; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port};
        {location}
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
TAKEN_OFF = "location = /chat {{ return 308 /chat/; }} location /chat/ {{ proxy_pass http://{node}/;"
LEFT_IN = "location /chat {{ proxy_pass http://{node};"


@contextlib.asynccontextmanager
async def nginx(folder: pathlib.Path, location: str, node: str) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, location=location.format(node=node)))
    program = find("nginx")
    assert program is not None
    process = await asyncio.create_subprocess_exec(program, "-e", "stderr", "-c", str(config), "-g", "daemon off;")
    try:
        await answers(f"http://127.0.0.1:{port}/chat/healthz")
        yield f"http://127.0.0.1:{port}/chat"
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)


@pytest.mark.parametrize(("location", "base_path"), [(TAKEN_OFF, ""), (LEFT_IN, "/chat")], ids=["taken off", "left in"])
async def test_page_documents_rest_and_sockets_work_below_a_path(
    running_engines: Engines, own_database: Urls, tmp_path: pathlib.Path, location: str, base_path: str
) -> None:
    where: dict[str, object] = {
        "database_url": own_database.application, "migrate_database_url": own_database.owner, "redis_url": running_engines.redis,
        "redis_prefix": f"p{os.getpid()}", "base_path": base_path,
    }  # fmt: skip
    async with (
        serving(**where) as node,
        nginx(tmp_path, location, node.url.removeprefix("http://").partition("/")[0]) as url,
        aiohttp.ClientSession() as http,
        driving() as driver,
    ):
        async with http.get(url) as page:
            assert (page.status, str(page.url)) == (200, f"{url}/"), "without its slash too"
        for address in (f"{url}/", f"{url}/api/docs"):
            async with http.get(address) as page:
                links = re.findall(r'(?:href|src)="([^"#]+)"', await page.text())
            for link in (one for one in links if "://" not in one):
                async with http.get(urljoin(address, link)) as answer:
                    assert answer.status == 200, link
                    assert str(answer.url).startswith(url), link
        anna = await Api(http, url).register()
        headers = {"Authorization": f"Bearer {anna.token}"}
        async with http.post(f"{url}/api/v1/rooms", json={"kind": "private", "name": "tea"}, headers=headers) as made:
            location_of_it = urljoin(str(made.url), made.headers["Location"])
            room = (await made.json())["id"]
        async with http.get(location_of_it, headers=headers) as found:
            assert (found.status, (await found.json())["id"]) == (200, room)
        for transports in (["polling"], ["websocket"], None):
            client = driver.open(url.removesuffix("/chat"), anna.token, transports, path="/chat/socket.io/")
            await client.ready()
            await client.send(room, "hello")
            if transports is None:
                await client.until("upgrade")
