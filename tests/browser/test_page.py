"""What the page looks like and withstands: accessible, nothing outside its box, a build that is gone, an input method."""

from __future__ import annotations

import asyncio
import pathlib
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.async_api import ViewportSize

from tests.browser.conftest import DESKTOP, WAIT_MS, Screen, Screens
from tests.browser.test_account import sign_in
from tests.client import PASSWORD, Api, unique
from tests.integration.test_administration import grant

if TYPE_CHECKING:
    from playwright.async_api import Route

    from tests.conftest import Nodes

AXE = pathlib.Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
NARROW = ViewportSize(width=390, height=844)
FINDINGS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`)"""
# Colours are judged when nothing moves any more; what a click opens begins to move in the next frame.
SETTLED = """async () => {
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  await Promise.all(document.getAnimations()
    .filter((one) => one.effect.getComputedTiming().iterations !== Infinity)
    .map((one) => one.finished.catch(() => null)));
}"""


async def look(screen: Screen, what: str) -> list[str]:
    """Return what axe finds wrong on the screen as it is."""
    await screen.page.evaluate(AXE.read_text())
    await screen.page.evaluate(SETTLED)
    return [f"{what}: {found}" for found in await screen.page.evaluate(FINDINGS)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, NARROW], ids=["1280", "390"])
async def test_axe_finds_nothing_wrong_on_the_main_screens(
    api: Api, nodes: Nodes, screens: Screens, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    boss = await grant(nodes.running[0], await api.register(unique("boss")))
    bert = await api.register(unique("bert"))
    room = await boss.room(name="Kitchen", members=[bert])
    await bert.send(room, "hello")
    await boss.send(room, "good morning")
    screen = await screens.open(size, scheme)
    await screen.page.goto(api.url)
    await screen.see("auth-username")
    found = await look(screen, "sign in")
    await sign_in(screen, api.url, boss.username, PASSWORD)
    await screen.see("room-item")
    found += await look(screen, "rooms")
    await screen.click("room-item")
    await screen.see("message", count=2)
    found += await look(screen, "room")
    if size is NARROW:
        await screen.click("room-members")
    await screen.click("member-menu")
    found += await look(screen, "members")
    await screen.page.goto(f"{api.url}/#/server")
    await screen.see("operator-node")
    found += await look(screen, "server")
    await screen.page.goto(f"{api.url}/#/")
    for dialog in ("status-open", "room-create", "room-browse"):
        await screen.click(dialog)
        await screen.page.get_by_role("dialog").wait_for()
        found += await look(screen, dialog)
        if dialog == "status-open":
            await screen.click("account-open")
            await screen.see("session")
            found += await look(screen, "account")
        await screen.page.keyboard.press("Escape")
        await screen.page.get_by_role("dialog").wait_for(state="hidden")
    await boss.room("direct", members=[bert])
    await screen.page.locator(screen.at("room-item")).filter(has_not_text="Kitchen").click()
    await screen.click("direct-more")
    await screen.see("direct-block")
    found += await look(screen, "direct")
    assert "\n".join(found) == ""


async def test_sixty_rooms_scroll_in_their_box_and_the_page_does_not(api: Api, screens: Screens) -> None:
    anna = await api.register(unique("anna"))
    for number in range(60):
        await anna.room("private", f"Room {number}")
    screen = await screens.open()
    await sign_in(screen, api.url, anna.username, PASSWORD)
    await screen.see("room-item", count=60)
    for element in ("document.documentElement", "document.body", "document.querySelector('.house')"):
        assert await screen.page.evaluate(f"{element}.scrollTop = 9999, {element}.scrollTop") == 0


async def test_the_styles_of_the_operators_page_stay_on_it(api: Api, nodes: Nodes, screens: Screens) -> None:
    boss = await grant(nodes.running[0], await api.register(unique("boss")))
    await boss.room(name="Kitchen")
    screen = await screens.open()
    await sign_in(screen, api.url, boss.username, PASSWORD)
    await screen.see("room-item")
    background = "getComputedStyle(document.querySelector('.avatar.tile')).backgroundColor"
    before = await screen.page.evaluate(background)
    await screen.click("operator-open")
    await screen.see("operator-node")
    assert await screen.page.evaluate(background) == before


async def test_a_password_that_works_once_brings_one_of_ones_own(api: Api, nodes: Nodes, screens: Screens) -> None:
    boss = await grant(nodes.running[0], await api.register(unique("boss")))
    anna = await api.register(unique("anna"))
    once = (await boss.request("POST", f"/admin/users/{anna.id}/password", expect=200)).json["password"]
    screen = await screens.open()
    await sign_in(screen, api.url, anna.username, once)
    await screen.fill("auth-new-password", "a better one of my own")
    await screen.click("auth-submit")
    await screen.see("room-list")
    await screen.click("sign-out")
    await sign_in(screen, api.url, anna.username, "a better one of my own")
    await screen.see("room-list")


@pytest.mark.parametrize("gone", [1, 99], ids=["for a moment", "for good"])
async def test_a_script_that_is_gone_makes_the_page_load_anew_exactly_once(api: Api, screens: Screens, gone: int) -> None:
    screen = await screens.open()
    asked, loads = 0, 0

    async def answer(route: Route) -> None:
        nonlocal asked
        asked += 1
        await (route.fulfill(status=404) if asked <= gone else route.continue_())

    def loaded(*_: object) -> None:
        nonlocal loads
        loads += 1

    await screen.page.route("**/assets/index-*.js", answer)
    screen.page.on("domcontentloaded", loaded)
    await screen.page.goto(api.url)
    if gone == 1:
        await screen.see("auth-username")
    else:
        await screen.page.get_by_role("alert").filter(has_text="being updated").wait_for(timeout=3 * WAIT_MS)
    await asyncio.sleep(1)  # a loop would go on by then
    assert loads == 2


async def test_a_refused_origin_is_said(api: Api, screens: Screens) -> None:
    screen = await screens.open()

    async def refuse(route: Route) -> None:
        if route.request.method == "GET":
            await route.continue_()
        else:
            await route.fulfill(status=403, json={"code": "origin_not_allowed", "retryable": False})

    await screen.page.route("**/socket.io/**", refuse)
    await screen.register(api.url, "Anna")
    await screen.see("banner", "refuses pages from this address")


async def test_enter_of_safaris_input_method_sends_nothing(api: Api, screens: Screens) -> None:
    screen = await screens.open()
    await screen.register(api.url, "Anna")
    await screen.create_room(unique("Tokyo "))
    await screen.fill("composer", "日本語")
    enter = "new KeyboardEvent('keydown', {key: 'Enter', keyCode: %d, bubbles: true, cancelable: true})"
    field = "document.querySelector('[data-testid=composer]')"
    await screen.page.evaluate(f"{field}.dispatchEvent({enter % 229})")
    assert await screen.page.locator(screen.at("composer")).input_value() == "日本語"
    await screen.page.evaluate(f"{field}.dispatchEvent({enter % 13})")
    await screen.see("message-body", "日本語")


async def test_a_draft_outlives_the_end_of_a_session(api: Api, screens: Screens) -> None:
    screen = await screens.open()
    name = await screen.register(api.url, "Anna")
    room = unique("Desk ")
    await screen.create_room(room)
    await screen.fill("composer", "half a sentence")
    signed_in = await api.request("POST", "/auth/login", {"username": name, "password": PASSWORD}, expect=200)
    change = {"current_password": PASSWORD, "new_password": "another good one"}
    headers = {"Authorization": f"Bearer {signed_in.json['access_token']}"}
    await screen.page.request.post(f"{api.url}/api/v1/me/password", data=change, headers=headers)
    await screen.see("auth-username")
    await screen.fill("auth-username", name)
    await screen.fill("auth-password", "another good one")
    await screen.click("auth-submit")
    await screen.see("composer")
    assert await screen.page.locator(screen.at("composer")).input_value() == "half a sentence"
