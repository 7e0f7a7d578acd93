"""The browser client in Chromium, as two people use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
from typing import TYPE_CHECKING

import pytest

from tests.balancer import balancing
from tests.browser.conftest import PHONE, WAIT_MS, Screen, Screens, Wire
from tests.client import PASSWORD, Api, Person, unique
from tests.process import readable, serving

if TYPE_CHECKING:
    from tests.conftest import Nodes

SCREENSHOT = os.environ.get("SCREENSHOT_TO")
"""Where `make screenshot` wants the picture of the README."""


async def until(true: object, screen: Screen, script: str) -> None:
    """Wait until a script on the page gives this."""
    async with asyncio.timeout(WAIT_MS / 1000):
        while await screen.page.evaluate(script) != true:
            await asyncio.sleep(0.02)


async def test_two_people_chat(api: Api, screens: Screens) -> None:
    anna, bert = await screens.open(), await screens.open(PHONE, "dark")
    room = "Kitchen" if SCREENSHOT else unique("Kitchen ")
    await anna.register(api.url, "Anna", "anna" if SCREENSHOT else None)
    await bert.register(api.url, "Bert", "bert" if SCREENSHOT else None)
    await anna.create_room(room)
    await bert.join(room)
    await anna.say("Good morning! Who brings the bread?")
    await bert.see("message-body", "Who brings the bread?")
    await bert.say("I do, from https://example.org/bakery")
    await anna.see("message-body", "https://example.org/bakery")
    assert await anna.page.locator("[data-testid=message-body] a").get_attribute("href") == "https://example.org/bakery"
    await bert.page.locator(bert.at("composer")).press_sequentially("And two")
    await anna.see("typing", "Bert")
    await bert.say("<img src=x onerror=alert(1)> is text & stays text")
    await anna.see("message-body", "<img src=x onerror=alert(1)>")
    await anna.say("Lovely.\nAnd two coffees, please.")
    await bert.see("message-body", "two coffees")
    await anna.see("message", count=4)
    assert await anna.states() == ["sent"] * 4
    assert await bert.bodies() == await anna.bodies()
    await until(0, anna, "document.querySelectorAll('[data-testid=message-body] img').length")
    await anna.page.reload()
    await anna.see("message", count=4)
    await anna.see("room-title", room)
    await until("online", anna, "document.querySelector('[data-testid=member-item] [data-testid=presence-dot]').dataset.status")
    if SCREENSHOT:
        await anna.page.screenshot(path=pathlib.Path(SCREENSHOT) / "chat.png")
        await bert.page.screenshot(path=pathlib.Path(SCREENSHOT) / "phone.png")


async def test_messages_are_edited_and_deleted_for_everybody(api: Api, screens: Screens) -> None:
    anna, bert = await screens.open(), await screens.open()
    room = unique("Desk ")
    await anna.register(api.url, "Anna")
    await bert.register(api.url, "Bert")
    await anna.create_room(room)
    await bert.join(room)
    await anna.say("frist")
    await bert.see("message-body", "frist")
    await anna.page.locator(anna.at("message")).hover()
    await anna.click("message-edit")
    await anna.fill("message-edit-text", "first")
    await anna.click("message-edit-save")
    await bert.see("message-body", "first")
    await anna.page.locator(anna.at("message")).hover()
    await anna.click("message-delete")
    await anna.click("message-delete")  # it asks whether one is sure
    await until(False, bert, "document.body.innerText.includes('first')")


async def test_what_is_wrong_with_a_sign_in_is_said(api: Api, screens: Screens) -> None:
    screen = await screens.open()
    await screen.page.goto(api.url)
    await screen.fill("auth-username", unique())
    await screen.fill("auth-password", "not the password")
    await screen.click("auth-submit")
    await screen.see("auth-error")
    assert "do not match" in (await screen.page.locator(screen.at("auth-error")).inner_text()).lower()


async def test_while_the_network_is_away_messages_wait_and_nothing_is_missed(api: Api, screens: Screens) -> None:
    wire = Wire(api.url)
    await wire.mend()
    anna, bert = await screens.open(), await screens.open()
    room = unique("Train ")
    await anna.register(wire.url, "Anna")
    await bert.register(api.url, "Bert")
    await anna.create_room(room)
    await bert.join(room)
    await anna.say("before the tunnel")
    await bert.see("message-body", "before the tunnel")
    await wire.cut()
    await anna.see("banner")
    await anna.say("in the tunnel")
    await bert.say("are you there?")
    await anna.see("message", count=2)
    assert (await anna.states())[-1] == "pending"
    await wire.mend()
    await anna.see("message", count=3)
    await anna.not_see("banner")
    await bert.see("message", count=3)
    expected = ["before the tunnel", "are you there?", "in the tunnel"]
    assert await anna.bodies() == await bert.bodies() == expected
    assert await anna.states() == ["sent"] * 3
    await wire.cut()


@pytest.mark.parametrize("signs", [["online"], ["visibilitychange"], []], ids=["online", "shown", "no sign"])
async def test_after_a_silent_change_of_the_network_the_page_is_back_in_seconds(
    api: Api, screens: Screens, signs: list[str]
) -> None:
    wire = Wire(api.url)
    await wire.mend()
    anna = await screens.open()
    name = await anna.register(wire.url, "Anna")
    await anna.create_room(unique("Tram "))
    await anna.say("before")
    await anna.see("message", count=1)
    await until("sent", anna, "document.querySelector('[data-testid=message]').dataset.state")
    signed_in = await api.request("POST", "/auth/login", {"username": name, "password": PASSWORD}, expect=200)
    [room] = (await Person(api, signed_in.json).get("/rooms?scope=mine"))["rooms"]
    wire.freeze()
    began = asyncio.get_running_loop().time()
    for sign in signs:
        await anna.page.evaluate(f"{'window' if sign == 'online' else 'document'}.dispatchEvent(new Event('{sign}'))")
    await Person(api, signed_in.json).send(room["id"], "from elsewhere")
    await anna.say("right after")
    async with asyncio.timeout(20):
        while len(await anna.bodies()) < 3 or await anna.states() != ["sent"] * 3:
            await asyncio.sleep(0.05)
    # 3 s for the answer to the question whether it lives; without a sign a request must wait for 5 s before.
    assert asyncio.get_running_loop().time() - began < (6 if signs else 11)
    await wire.cut()


async def test_the_server_is_killed_and_started_again_and_everything_is_there(
    screens: Screens, tmp_path: pathlib.Path, unused_tcp_port: int
) -> None:
    data, room = readable(tmp_path) / "data", unique("Cellar ")
    anna = await screens.open()
    async with serving(data_dir=data, port=unused_tcp_port) as server:
        await anna.register(server.url, "Anna")
        await anna.create_room(room)
        await anna.say("before the crash")
        await anna.see("message", count=1)
        await until("sent", anna, "document.querySelector('[data-testid=message]').dataset.state")
    await anna.see("banner")
    await anna.say("while it was down")
    async with serving(data_dir=data, port=unused_tcp_port):
        await anna.not_see("banner")
        async with asyncio.timeout(WAIT_MS / 1000):
            while await anna.states() != ["sent", "sent"]:
                await asyncio.sleep(0.05)
        await anna.page.reload()
        await anna.see("message", count=2)
        assert await anna.bodies() == ["before the crash", "while it was down"]


async def test_a_node_is_replaced_and_the_page_goes_on_at_another_without_a_word(nodes: Nodes, screens: Screens) -> None:
    here, there = await nodes.start(), await nodes.start()
    async with balancing(here.url, there.url) as balancer:
        await balancer.until_ready(here.url)
        await balancer.until_ready(there.url)
        anna, bert = await screens.open(), await screens.open()
        room = unique("Station ")
        await anna.register(await balancer.door(), "Anna")
        await bert.register(await balancer.door(), "Bert")
        await anna.create_room(room)
        await bert.join(room)
        await anna.say("before")
        await bert.see("message-body", "before")
        assert len(nodes.running[0].hub) == len(nodes.running[1].hub) == 1
        await nodes.stop(0)
        await bert.say("amid")
        await anna.say("after")
        for screen in (anna, bert):
            await screen.see("message", count=3)
        assert len(nodes.running[1].hub) == 2
        assert sorted(await anna.bodies()) == sorted(await bert.bodies()) == ["after", "amid", "before"]


async def test_history_comes_as_one_scrolls_up(api: Api, screens: Screens) -> None:
    anna = await screens.open()
    username = await anna.register(api.url, "Anna")
    room = unique("Archive ")
    await anna.create_room(room)
    signed_in = await api.request("POST", "/auth/login", {"username": username, "password": PASSWORD}, expect=200)
    person = Person(api, signed_in.json)
    [made] = [one for one in (await person.get("/rooms?scope=mine"))["rooms"] if one["name"] == room]
    for number in range(1, 121):
        await person.send(made["id"], f"message number {number}")
    await anna.see("message-body", "message number 120")
    await anna.page.reload()
    await anna.see("message-body", "message number 120")
    assert await anna.page.locator(anna.at("message")).count() < 120
    async with asyncio.timeout(WAIT_MS / 1000):
        while await anna.page.locator(anna.at("message")).count() < 120:
            await anna.page.locator(anna.at("message")).first.hover()
            await anna.page.mouse.wheel(0, -2000)
            await asyncio.sleep(0.05)
    assert await anna.bodies() == [f"message number {number}" for number in range(1, 121)]


async def test_on_a_phone_everything_fits_and_one_screen_leads_to_the_next(api: Api, screens: Screens) -> None:
    anna = await screens.open(PHONE)
    room = unique("Pocket ")
    await anna.register(api.url, "Anna")
    fits = "document.documentElement.scrollWidth <= window.innerWidth"
    assert await anna.page.evaluate(fits)
    await anna.create_room(room)
    await anna.say("x" * 300)  # a word longer than the screen
    await anna.see("message", count=1)
    assert await anna.page.evaluate(fits)
    await anna.click("back")
    await anna.see("room-item", room)
    await anna.page.locator(anna.at("room-item")).filter(has_text=room).click()
    await anna.see("composer")
    await anna.page.go_back()
    await anna.see("room-item", room)


async def test_it_works_by_keyboard_alone(api: Api, screens: Screens) -> None:
    screen = await screens.open()
    await screen.page.goto(api.url)
    await screen.see("auth-username")
    keyboard = screen.page.keyboard

    async def tab_to(testid: str) -> None:
        for _ in range(40):
            if await screen.page.evaluate("document.activeElement?.dataset?.testid ?? ''") == testid:
                return
            await keyboard.press("Tab")
        pytest.fail(f"{testid} is not reached by the keyboard")

    await tab_to("auth-switch")
    await keyboard.press("Enter")
    await screen.see("auth-display-name")
    for field, text in (("auth-username", unique()), ("auth-display-name", "Keys Only"), ("auth-password", PASSWORD)):
        await tab_to(field)
        await keyboard.type(text)
    await keyboard.press("Enter")
    await screen.see("room-list")
    await tab_to("room-create")
    await keyboard.press("Enter")
    await tab_to("room-create-name")
    await keyboard.type(room := unique("Keys "))
    await keyboard.press("Enter")
    await screen.see("room-title", room)
    await tab_to("composer")
    await keyboard.type("typed")
    await keyboard.press("Enter")
    await screen.see("message-body", "typed")


async def test_signing_out_in_one_tab_signs_out_the_others(api: Api, screens: Screens) -> None:
    first = await screens.open()
    await first.register(api.url, "Anna")
    second = Screen(await first.page.context.new_page())
    await second.page.goto(api.url)
    await second.see("room-list")
    await first.click("sign-out")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await first.click("sign-out-anyway")  # asked only when messages are unsent
    await first.see("auth-username")
    await second.see("auth-username")


async def test_a_direct_chat_begins_by_finding_somebody_and_shows_who_is_there(nodes: Nodes, screens: Screens) -> None:
    api = await nodes.start()
    anna, bert = await screens.open(), await screens.open()
    await anna.register(api.url, "Anna")
    name = await bert.register(api.url, "Bert")
    await anna.click("direct-new")
    await anna.fill("people-search", name)
    await anna.click("people-result")
    await anna.see("room-title", "Bert")
    await anna.say("psst")
    await bert.see("room-item", "Anna")
    await bert.page.locator(bert.at("room-item")).filter(has_text="Anna").click()
    await bert.see("message-body", "psst")
    await until("online", anna, "document.querySelector('[data-testid=presence-dot]')?.dataset.status")
