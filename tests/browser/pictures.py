"""`make screenshot`, the pictures that no test takes: the operator's page over three nodes, and the timelines of a fault report.

`python -m tests.browser.pictures FOLDER` for the first, which takes two minutes; with a report behind it, for the second.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING

from playwright.async_api import ViewportSize, async_playwright

from tests.browser.conftest import _FLAGS, CHROMIUM, DESKTOP
from tests.client import PASSWORD
from tests.cluster.lab.cluster import Cluster
from tests.cluster.lab.load import Plan
from tests.cluster.lab.runner import Load
from tests.process import readable

if TYPE_CHECKING:
    from playwright.async_api import Browser

PEOPLE, ROOM = 300, 10
TIMELINES = ("node_killed", "redis_60_s")


async def operator(browser: Browser, to: pathlib.Path) -> None:
    """Three nodes under load, of which one dies."""
    async with contextlib.AsyncExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roomwire-pictures-")))
        cluster = await stack.enter_async_context(Cluster(readable(folder)).open())
        await cluster.ready()
        rooms_of = [list(range(at, at + ROOM)) for at in range(0, PEOPLE, ROOM)]
        people, rooms = await cluster.populate(PEOPLE, rooms_of)
        account = {"username": "olga", "display_name": "Olga Petrova", "password": PASSWORD}
        async with cluster.http.post(f"{cluster.urls[0]}/api/v1/auth/register", json=account) as answer:
            answer.raise_for_status()
        async with cluster.database() as connection:
            await connection.execute("UPDATE users SET is_admin = true WHERE username = 'olga'")
        load = Load(folder / "record")
        stack.push_async_callback(load.kill)
        await load.start(Plan(1, cluster.urls, people))
        await load.do("enter", within_s=60)
        await load.do("write", rate=80)
        page = await browser.new_page(viewport=DESKTOP, color_scheme="light", locale="en-GB")
        await page.goto(cluster.urls[0])
        await page.fill("[data-testid=auth-username]", "olga")
        await page.fill("[data-testid=auth-password]", PASSWORD)
        await page.click("[data-testid=auth-submit]")
        await page.click("[data-testid=operator-open]")
        await asyncio.sleep(40)
        await load.do("stop_reading", count=3, room=rooms[0])
        await load.do("write", rate=100, room=rooms[0], size=7000)
        await asyncio.sleep(15)
        await load.do("read_on")
        await load.do("write", rate=120)
        await asyncio.sleep(10)
        await cluster.kill(2)
        await asyncio.sleep(22)  # until it counts as silent, and its clients are elsewhere
        await page.screenshot(path=to / "operator.png")


async def timelines(browser: Browser, report: str, to: pathlib.Path) -> None:
    """Two runs of a report."""
    page = await browser.new_page(viewport=ViewportSize(width=1040, height=900), color_scheme="light")
    await page.goto(report)
    await page.evaluate(
        """(names) => {
          const shown = new Set();
          for (const name of names) {
            let one = document.getElementById(name);
            do { shown.add(one); one = one.nextElementSibling; } while (one && one.tagName !== "H2");
          }
          for (const one of [...document.body.children]) if (!shown.has(one)) one.remove();
        }""",
        list(TIMELINES),
    )
    await page.locator("body").screenshot(path=to / "faults.png")


async def main(to: pathlib.Path, report: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        if report:
            await timelines(browser, report, to)
        else:
            await operator(browser, to)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve().as_uri() if len(sys.argv) > 2 else ""))
