"""The examples that people copy: they run as they are against a real node, and the README shows them to the letter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.client import PASSWORD, Api, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.client import Person
    from tests.conftest import Nodes

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = {"js": ROOT / "examples" / "chat.mjs", "python": ROOT / "examples" / "chat.py"}
TEN_LINES = {"js": ROOT / "examples" / "hello.mjs", "python": ROOT / "examples" / "hello.py"}
NODE = pathlib.Path(sys.executable).parent / "node"
both = pytest.mark.parametrize("language", EXAMPLES)


class Run:
    """A running example and the lines it prints: an event's name, and its JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.printed: list[tuple[str, Any]] = []

    async def until(self, name: str, **fields: object) -> dict[str, Any]:
        """Read on until an event with these fields is printed; return it."""
        async with asyncio.timeout(15):
            while True:
                got, payload = await self._next()
                if got == name and fields.items() <= payload.items():
                    return payload

    async def _next(self) -> tuple[str, dict[str, Any]]:
        assert self._process.stdout is not None and self._process.stderr is not None  # both are pipes
        line = (await self._process.stdout.readline()).decode()
        assert line, (await self._process.stderr.read()).decode()
        name, _, payload = line.partition(" ")
        self.printed.append((name, json.loads(payload)))
        return name, self.printed[-1][1]

    def seqs(self, room: str) -> list[int]:
        """Return the numbers of the room's events, as they were printed."""
        return [payload["seq"] for _, payload in self.printed if payload.get("room") == room and "seq" in payload]


@contextlib.asynccontextmanager
async def running(language: str, folder: pathlib.Path, *arguments: str) -> AsyncIterator[Run]:
    """Run an example from a folder where somebody has installed the official client."""
    program = folder / EXAMPLES[language].name
    program.write_bytes(EXAMPLES[language].read_bytes())
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(ROOT / "web" / "node_modules")
    interpreter = str(NODE) if language == "js" else sys.executable
    process = await asyncio.create_subprocess_exec(
        interpreter, program.name, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Run(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def nobody_listens() -> str:
    """Return an address at which a connection is refused."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def arguments(person: Person, *more: str) -> list[str]:
    return [person.api.url, person.username, PASSWORD, *more]


@both
async def test_the_example_makes_a_room_says_hello_and_prints_what_arrives(
    api: Api, tmp_path: pathlib.Path, language: str
) -> None:
    anna = await api.register()
    async with running(language, tmp_path, *arguments(anna)) as example:
        hello = await example.until("message.created", body="hello")
        if "sent" not in dict(example.printed):
            await example.until("sent")
    sent = dict(example.printed)["sent"]
    assert dict(example.printed)["ready"]["user"]["id"] == anna.id
    assert (hello["actor"], hello["seq"], hello["kind"]) == (anna.id, sent["seq"], "message.created")
    assert sent["ok"] is True
    page = await anna.get(f"/rooms/{hello['room']}/messages")
    assert [message["body"] for message in page["messages"]] == ["hello"]


@both
async def test_the_example_joins_a_room_reads_what_was_said_there_and_goes_on_live(
    api: Api, tmp_path: pathlib.Path, language: str
) -> None:
    anna, ben = await api.register(), await api.register()
    room = await anna.room()
    await anna.send(room, "before")
    async with running(language, tmp_path, *arguments(ben, room)) as example:
        await example.until("message.created", body="hello")
        await anna.send(room, "after")
        await example.until("message.created", body="after")
    bodies = [payload["body"] for name, payload in example.printed if name == "message.created"]
    assert bodies == ["before", "hello", "after"]
    seqs = example.seqs(room)
    assert seqs == list(range(1, seqs[-1] + 1))


@both
async def test_the_example_ends_with_the_servers_reason_when_the_password_is_wrong(
    api: Api, tmp_path: pathlib.Path, language: str
) -> None:
    interpreter = str(NODE) if language == "js" else sys.executable
    (tmp_path / "node_modules").symlink_to(ROOT / "web" / "node_modules")
    program = tmp_path / EXAMPLES[language].name
    program.write_bytes(EXAMPLES[language].read_bytes())
    process = await asyncio.create_subprocess_exec(
        interpreter, program.name, api.url, unique(), "wrong password", cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 1
    assert b"invalid_credentials" in said


@both
@pytest.mark.parametrize(("wrong", "word"), [("password", b"invalid_credentials"), ("address", b"conn")])
async def test_the_first_client_of_the_readme_says_what_went_wrong(
    api: Api, tmp_path: pathlib.Path, language: str, wrong: str, word: bytes
) -> None:
    anna = await api.register()
    (tmp_path / "node_modules").symlink_to(ROOT / "web" / "node_modules")
    program = tmp_path / TEN_LINES[language].name
    program.write_bytes(TEN_LINES[language].read_bytes())
    interpreter = str(NODE) if language == "js" else sys.executable
    url, password = (api.url, "wrong password") if wrong == "password" else (nobody_listens(), PASSWORD)
    process = await asyncio.create_subprocess_exec(
        interpreter, program.name, url, anna.username, password, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 1
    assert word in said.lower()
    assert b"Traceback" not in said


@both
async def test_the_example_renews_its_access_token_and_stays(nodes: Nodes, tmp_path: pathlib.Path, language: str) -> None:
    api = await nodes.start(access_token_ttl_s=10, token_grace_s=0)
    anna, ben = await api.register(), await api.register()
    room = await anna.room()
    async with running(language, tmp_path, *arguments(ben, room)) as example:
        await example.until("message.created", body="hello")
        first = (await ben.get("/me/sessions"))["sessions"]
        await asyncio.sleep(11)  # the first token is over, and whoever still shows it was disconnected
        later = Api(anna.api.http, api.url)
        again = (await later.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)).json
        await later.request(
            "POST",
            f"/rooms/{room}/messages",
            {"client_id": unique(), "body": "still there?"},
            token=again["access_token"],
            expect=201,
        )
        await example.until("message.created", body="still there?")
    assert len(first) == 2
    names = [name for name, _ in example.printed]
    assert names.count("ready") == 1
    assert not {"closing", "connect_error", "refused"} & set(names)


def test_the_readme_names_an_extra_that_the_oldest_pip_knows() -> None:
    [wanted] = set(re.findall(r'pip install "(python-socketio\[[^"]+)"', README + EXAMPLES["python"].read_text(encoding="utf-8")))
    # The pip that came with this Python: that of 3.11 does not take an underscore for a dash.
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", "-", wanted],
        check=True, capture_output=True, timeout=50,
    )  # fmt: skip
    assert "aiohttp" in {one["metadata"]["name"] for one in json.loads(answer.stdout)["install"]}


@both
async def test_the_ten_lines_of_the_readme_sign_in_and_talk(api: Api, tmp_path: pathlib.Path, language: str) -> None:
    anna = await api.register()
    (tmp_path / "node_modules").symlink_to(ROOT / "web" / "node_modules")
    program = tmp_path / TEN_LINES[language].name
    program.write_bytes(TEN_LINES[language].read_bytes())
    interpreter = str(NODE) if language == "js" else sys.executable
    process = await asyncio.create_subprocess_exec(
        interpreter, program.name, *arguments(anna), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        said = b""
        async with asyncio.timeout(15):
            while b"message.created" not in said or b"hello" not in said:
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
    [room] = (await anna.get("/rooms?scope=mine"))["rooms"]
    page = await anna.get(f"/rooms/{room['id']}/messages")
    assert [message["body"] for message in page["messages"]] == ["hello"]


@both
def test_the_readme_shows_the_ten_lines_to_the_letter(language: str) -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert TEN_LINES[language].read_text(encoding="utf-8") in blocks
