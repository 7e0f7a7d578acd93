"""The wheel: what is installed from it, away from the tree, starts and serves."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import Parser
from typing import TYPE_CHECKING

import pytest

from realtime import __version__
from realtime.store import migrate
from tests.process import Server, readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import Message

    import aiohttp

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


class Installed(Server):
    """A server that is started by the console script of an environment."""

    def __init__(self, script: pathlib.Path, **settings: object) -> None:
        super().__init__(**settings)
        self._script = script

    @property
    def command(self) -> Sequence[str]:
        return [str(self._script)]


def run(*command: str | pathlib.Path, folder: pathlib.Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A wheel of this tree. It is built from a copy: setuptools writes beside what it reads."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "realtime", folder / "realtime", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", ".", folder=folder)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def script(wheel: pathlib.Path) -> pathlib.Path:
    """`roomwire` of an environment that has the wheel, and finds what it needs among the packages of the tests."""
    folder = wheel.parent
    run(sys.executable, "-m", "venv", "--without-pip", "env", folder=folder)
    python = folder / "env" / "bin" / "python"
    run(sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-deps", "--no-index", wheel, folder=folder)
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env" / "bin" / "roomwire"


@pytest.fixture(scope="module")
def metadata(wheel: pathlib.Path) -> Message:
    with zipfile.ZipFile(wheel) as files:
        [name] = [one for one in files.namelist() if one.endswith(".dist-info/METADATA")]
        return Parser().parsestr(files.read(name).decode())


def test_the_wheel_has_what_a_server_reads(wheel: pathlib.Path) -> None:
    assert wheel.name == f"roomwire-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
    tree = {path.relative_to(ROOT).as_posix() for path in (ROOT / "realtime").rglob("*") if path.is_file()}
    assert tree - names == {one for one in tree if "__pycache__" in one}
    assert {"realtime/py.typed", "realtime/web/index.html", "realtime/surface/rest/docs.css"} <= names
    assert {f"realtime/store/migrations/{name}" for name, _ in migrate.files()} <= names
    assert {name.partition("/")[0] for name in names} == {"realtime", f"roomwire-{__version__}.dist-info"}


def test_the_metadata_say_what_it_is_and_needs(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("roomwire", __version__)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    needed = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert len(needed) == len(PROJECT["dependencies"]) > 0
    assert str(metadata.get_payload()).startswith("# Roomwire")


def test_what_the_package_imports_is_declared() -> None:
    declared = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    needed = {_normal(re.split(r"[^\w.-]", one)[0]) for one in declared}
    imported = set()
    for path in (ROOT / "realtime").rglob("*.py"):
        for node in _run(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    of = importlib.metadata.packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"realtime"}
    assert {name: of[name] for name in foreign if not needed & {_normal(one) for one in of[name]}} == {}


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is run of a module: without the imports that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield child
            yield from _run(child)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


async def test_an_installed_package_starts_away_from_the_tree(
    script: pathlib.Path, tmp_path: pathlib.Path, http: aiohttp.ClientSession
) -> None:
    assert run(script, "--version", folder=tmp_path) == f"roomwire {__version__}\n"
    assert "serve" in run(script, "--help", folder=tmp_path)
    before = run(script.with_name("realtime"), "--version", folder=tmp_path)
    assert before == f"roomwire {__version__}\n", "units of releases up to 0.2 start it by this name"
    where = run(script.with_name("python"), "-c", "import realtime; print(realtime.__file__)", folder=tmp_path)
    assert pathlib.Path(where).is_relative_to(script.parents[1])
    server = Installed(script, data_dir=readable(tmp_path) / "data")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.kill)
        url = await server.start()
        async with http.get(f"{url}/readyz") as ready, http.get(url) as page, http.get(f"{url}/api/docs") as docs:
            assert (ready.status, page.status, docs.status) == (200, 200, 200)
            assert "<script" in await page.text(), "the browser client, not the page that stands in for it"
