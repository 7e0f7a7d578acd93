"""A real Chromium, and a wire that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.client import PASSWORD, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync"]  # fmt: skip
DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=360, height=740)
WAIT_MS = 8000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        reason = pytest.mark.skip(reason="Chromium is not installed; `make setup-dev` installs it where it may.")
        for item in items:
            if pathlib.Path(__file__).parent in item.path.parents:
                item.add_marker(reason)


class Wire:
    """A TCP connection to a server that can be cut and mended."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._frozen: set[asyncio.StreamWriter] = set()
        self._port = 0
        self.url = ""

    async def mend(self) -> None:
        """Carry again."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def cut(self) -> None:
        """Drop every connection and take no new ones."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    def freeze(self) -> None:
        """Carry nothing more on the connections that there are, and tell neither side: the network has changed."""
        self._frozen |= self._writers

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        try:
            await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))
        finally:
            self._writers -= {writer, there_writer}
            for one in (writer, there_writer):
                one.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if writer in self._frozen:
                    continue
                writer.write(data)
                await writer.drain()
            writer.write_eof()


class Screen:
    """One person's browser: a page with no cookies or storage of anybody else.

    Attributes:
        complaints: What the page logged as an error, and exceptions that nobody caught.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._console(message.type, message.text))

    def _console(self, kind: str, text: str) -> None:
        # Chromium logs every request that fails; whether it may is the test's business.
        if kind == "error" and not text.startswith("Failed to load resource") and "WebSocket connection" not in text:
            self.complaints.append(text)

    def at(self, testid: str) -> str:
        return f"[data-testid={testid}]"

    async def click(self, testid: str) -> None:
        await self.page.locator(self.at(testid)).first.click()

    async def fill(self, testid: str, text: str) -> None:
        await self.page.locator(self.at(testid)).first.fill(text)

    async def see(self, testid: str, text: str | None = None, count: int | None = None) -> None:
        """Wait until something is visible: with a text, or that many of them."""
        found = self.page.locator(self.at(testid))
        if text is not None:
            found = found.filter(has_text=text)
        if count is None:
            await found.first.wait_for(state="visible")
            return
        async with asyncio.timeout(WAIT_MS / 1000):
            while await found.count() != count:
                await asyncio.sleep(0.02)

    async def not_see(self, testid: str) -> None:
        await self.page.locator(self.at(testid)).first.wait_for(state="hidden")

    async def register(self, url: str, display_name: str, username: str | None = None) -> str:
        """Make an account on the page; return the username."""
        name = username or unique(display_name.lower())[:32]
        await self.page.goto(url)
        await self.click("auth-switch")
        await self.fill("auth-username", name)
        await self.fill("auth-display-name", display_name)
        await self.fill("auth-password", PASSWORD)
        await self.click("auth-submit")
        await self.see("room-list")
        return name

    async def create_room(self, name: str, kind: str = "public") -> None:
        await self.click("room-create")
        await self.fill("room-create-name", name)
        await self.click(f"room-create-kind-{kind}")
        await self.click("room-create-submit")
        await self.see("room-title", name)

    async def join(self, name: str) -> None:
        await self.click("room-browse")
        await self.fill("room-browse-filter", name)
        await self.see("room-join", count=1)
        await self.click("room-join")
        await self.see("room-title", name)

    async def say(self, text: str) -> None:
        await self.fill("composer", text)
        await self.page.locator(self.at("composer")).press("Enter")

    async def bodies(self) -> list[str]:
        return await self.page.locator(self.at("message-body")).all_inner_texts()

    async def states(self) -> list[str | None]:
        """Return the state of each message on the page: pending, sent or failed."""
        found = await self.page.locator(self.at("message")).all()
        return [await one.get_attribute("data-state") for one in found]


class Screens:
    """Opens screens; at the end none may have complained."""

    def __init__(self, browser: Browser, stack: contextlib.AsyncExitStack) -> None:
        self._browser = browser
        self._stack = stack
        self._open: list[Screen] = []

    async def open(self, size: ViewportSize = DESKTOP, scheme: Literal["light", "dark"] = "light") -> Screen:
        context = await self._browser.new_context(viewport=size, color_scheme=scheme, locale="en-GB")
        self._stack.push_async_callback(context.close)
        screen = Screen(await context.new_page())
        self._open.append(screen)
        return screen

    def check(self) -> None:
        assert [complaint for screen in self._open for complaint in screen.complaints] == []


@pytest.fixture
async def screens() -> AsyncIterator[Screens]:
    async with contextlib.AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        profile = stack.enter_context(tempfile.TemporaryDirectory(prefix="roomwire-chromium-", ignore_cleanup_errors=True))
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS, env={"HOME": profile})
        stack.push_async_callback(browser.close)
        screens = Screens(browser, stack)
        yield screens
        screens.check()
