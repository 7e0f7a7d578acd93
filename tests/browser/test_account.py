"""One's own status and account, keeping people out of a room, and the operator's page, in Chromium."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.browser.conftest import PHONE, WAIT_MS, Screen, Screens
from tests.client import PASSWORD, Api, unique
from tests.integration.test_administration import grant

if TYPE_CHECKING:
    from playwright.async_api import Route

    from tests.conftest import Nodes


async def dot(screen: Screen, user: str) -> str:
    return str(await screen.page.locator(f'[data-user="{user}"] [data-testid=presence-dot]').get_attribute("data-status"))


async def becomes(screen: Screen, user: str, status: str) -> None:
    async with asyncio.timeout(WAIT_MS / 1000):
        while await dot(screen, user) != status:
            await asyncio.sleep(0.02)


async def sign_in(screen: Screen, url: str, username: str, password: str) -> None:
    await screen.page.goto(url)
    await screen.fill("auth-username", username)
    await screen.fill("auth-password", password)
    await screen.click("auth-submit")


async def test_a_status_and_a_text_are_chosen_seen_by_others_and_kept(api: Api, screens: Screens) -> None:
    anna, bert = await screens.open(), await screens.open()
    room = unique("Porch ")
    await anna.register(api.url, "Anna")
    await bert.register(api.url, "Bert")
    await anna.create_room(room)
    await bert.join(room)
    mine = '[data-testid=member-item]:has-text("Anna")'
    user = str(await bert.page.locator(mine).get_attribute("data-user"))
    await becomes(bert, user, "online")
    await anna.click("status-open")
    await anna.click("status-dnd")
    await anna.fill("status-text", "Baking bread")
    await anna.page.locator(anna.at("status-life")).select_option(label="For an hour")
    await anna.click("status-save")
    await anna.see("me-text", "Baking bread")
    await becomes(bert, user, "dnd")
    await bert.see("member-about", "Baking bread")
    await anna.page.reload()
    await anna.see("me-text", "Baking bread")
    await anna.click("status-open")
    assert await anna.page.locator(anna.at("status-dnd")).is_checked()
    await anna.click("status-invisible")
    await anna.fill("status-text", "")
    await anna.click("status-save")
    await becomes(bert, user, "offline")
    assert "Baking bread" not in await bert.page.locator(mine).inner_text()


async def test_a_password_is_changed_and_the_other_devices_are_signed_out(api: Api, screens: Screens) -> None:
    here, there = await screens.open(), await screens.open(PHONE)
    name = await here.register(api.url, "Anna")
    await sign_in(there, api.url, name, PASSWORD)
    await there.see("room-list")
    await here.click("status-open")
    await here.click("account-open")
    await here.see("session", count=2)
    await here.fill("password-current", "not it, surely")
    await here.fill("password-new", "another good one")
    await here.click("password-save")
    await here.see("password-error", "The current password is incorrect")
    await here.fill("password-current", PASSWORD)
    await here.click("password-save")
    await here.see("toast", "Your password is changed")
    await there.see("auth-submit")
    await here.create_room(unique("Still here "))
    await here.page.reload()
    await here.see("room-title")
    await sign_in(there, api.url, name, PASSWORD)
    await there.see("auth-error")
    await sign_in(there, api.url, name, "another good one")
    await there.see("room-list")
    await here.click("status-open")
    await here.click("account-open")
    await here.click("session-end")
    await here.see("session", count=1)
    await there.see("auth-submit")


async def test_a_tab_that_renews_while_another_changes_the_password_stays_signed_in(api: Api, screens: Screens) -> None:
    here = await screens.open()
    name = await here.register(api.url, "Anna")
    there = Screen(await here.page.context.new_page())
    answered, asked = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        answered.set()
        await asked.wait()
        await route.fulfill(response=answer)

    await there.page.route("**/auth/refresh", late)
    await here.click("status-open")
    await here.click("account-open")
    await here.fill("password-current", PASSWORD)
    await here.fill("password-new", "another good one")
    await there.page.goto(api.url)
    await answered.wait()
    await here.click("password-save")
    asked.set()
    await here.see("toast", "Your password is changed")
    for tab in (there, here):
        await tab.see("room-list")
        await tab.page.reload()
        await tab.see("room-list")
    fresh = await screens.open(PHONE)
    await sign_in(fresh, api.url, name, "another good one")
    await fresh.see("room-list")
    assert there.complaints == []


async def test_somebody_is_banned_and_may_come_back_when_the_ban_is_lifted(api: Api, screens: Screens) -> None:
    anna, bert = await screens.open(), await screens.open()
    room = unique("Yard ")
    await anna.register(api.url, "Anna")
    await bert.register(api.url, "Bert")
    await anna.create_room(room)
    await bert.join(room)
    await anna.see("member-item", count=2)
    await anna.page.locator(f'{anna.at("member-item")}:has-text("Bert") {anna.at("member-menu")}').click()
    await anna.click("member-ban")
    await anna.click("member-ban")  # it asks whether one is sure
    await bert.see("toast", "banned from")
    await anna.see("member-item", count=1)
    await bert.click("room-browse")
    await bert.fill("room-browse-filter", room)
    await bert.click("room-join")
    await bert.page.get_by_role("alert").filter(has_text="banned").wait_for()
    await bert.page.keyboard.press("Escape")
    await anna.click("bans-open")
    await anna.click("ban-lift")
    await anna.see("ban", count=0)
    await bert.join(room)
    await anna.page.keyboard.press("Escape")
    await anna.see("member-item", count=2)
    await anna.say("welcome back")
    await bert.see("message-body", "welcome back")


async def test_an_operator_sees_the_nodes_and_others_do_not(api: Api, nodes: Nodes, screens: Screens) -> None:
    boss, anna = await screens.open(), await screens.open(PHONE, "dark")
    person = await grant(nodes.running[0], await api.register(unique("boss")))
    await sign_in(boss, api.url, person.username, PASSWORD)
    await anna.register(api.url, "Anna")
    await boss.click("operator-open")
    await boss.see("operator-node", count=1)
    await boss.see("operator-chart", count=6)
    await boss.see("operator-connections", "2")
    await boss.page.locator("[data-measure=connections] canvas").wait_for()
    assert await anna.page.locator(anna.at("operator-open")).count() == 0
    await anna.page.goto(f"{api.url}/#/server")
    await anna.see("operator-failure", "Only administrators")
    await anna.click("back")
    await anna.see("room-list")
    await boss.click("operator-pause")
    await boss.page.get_by_text("Paused").wait_for()
    await boss.click("back")
    await boss.page.get_by_text("Hello,").wait_for()


async def test_somebody_is_blocked_and_a_chat_is_closed_and_both_are_undone(api: Api, screens: Screens) -> None:
    anna, bert = await screens.open(), await screens.open(PHONE)
    room = unique("Shed ")
    await anna.register(api.url, "Anna")
    await bert.register(api.url, "Bert")
    await anna.create_room(room)
    await bert.join(room)
    his = anna.page.locator('[data-testid=member-item]:has-text("Bert")')
    await his.locator(anna.at("member-menu")).click()
    await his.get_by_role("button", name="Write").click()
    await anna.see("room-title", "Bert")
    await anna.say("How are the tomatoes?")
    await bert.page.locator(bert.at("back")).click()
    await bert.page.locator(bert.at("room-item")).filter(has_text="Anna").click()
    await bert.see("room-title", "Anna")
    await bert.page.locator(bert.at("message-body")).filter(has_text="How are the tomatoes?").wait_for(timeout=WAIT_MS)

    await anna.click("direct-more")
    await anna.click("direct-block")
    await bert.say("Red.")
    await bert.page.get_by_text("This chat is closed").wait_for(timeout=WAIT_MS)
    await anna.click("status-open")
    await anna.click("account-open")
    await anna.page.locator(f"{anna.at('may-add-everybody')}:checked").wait_for(timeout=WAIT_MS)
    await anna.click("may-add-nobody")
    await anna.page.locator(anna.at("block")).filter(has_text="Bert").locator(anna.at("block-lift")).click()
    await anna.page.get_by_text("You have blocked nobody.").wait_for(timeout=WAIT_MS)
    await anna.page.keyboard.press("Escape")
    await bert.say("Green, rather.")
    await anna.page.locator(anna.at("message-body")).filter(has_text="Green, rather.").wait_for(timeout=WAIT_MS)

    await bert.click("direct-more")
    await bert.click("direct-close")
    await anna.say("And the beans?")
    await anna.page.get_by_text("This chat is closed").wait_for(timeout=WAIT_MS)
    await bert.click("direct-more")
    await bert.click("direct-reopen")
    await anna.say("The beans!")
    await bert.page.locator(bert.at("message-body")).filter(has_text="The beans!").wait_for(timeout=WAIT_MS)
    await anna.page.reload()
    await anna.click("status-open")
    await anna.click("account-open")
    await anna.page.locator(f"{anna.at('may-add-nobody')}:checked").wait_for(timeout=WAIT_MS)
