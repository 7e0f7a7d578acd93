"""What a module says of itself is held to."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2] / "realtime"
IO = {"asyncio", "socket", "ssl", "select", "subprocess", "threading", "aiohttp", "asyncpg", "redis", "socketio", "uvloop"}
BORROWED = {"realtime.gateway.masking": "aiohttp", "realtime.surface.rest.problems": "aiohttp"}
"""Of these a pure module takes no more than a function of a C extension, and the shape of an answer."""
_PURE = re.compile(r"\bpure\b", re.IGNORECASE)


def name_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def tree_of(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """The modules that are imported when this one runs: not what stands under `if TYPE_CHECKING`."""
    found: set[str] = set()
    left: list[ast.AST] = list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            left += ast.iter_child_nodes(node)
    return found


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
PURE = [name for name, path in MODULES.items() if _PURE.search(ast.get_docstring(tree_of(path)) or "")]


def test_many_modules_are_pure() -> None:
    assert len(PURE) >= 30


@pytest.mark.parametrize("name", PURE)
def test_a_module_that_calls_itself_pure_reaches_no_io(name: str) -> None:
    seen: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        for other in imported(tree_of(MODULES[one])):
            if other in MODULES:
                left.append(other)
            else:
                package = other.partition(".")[0]
                assert package not in IO or BORROWED.get(one) == package, f"{one}, which {name} needs, imports {other}"


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(tree_of(path))]
    assert silent == []
    assert importlib.util.find_spec("realtime") is not None


def test_make_test_runs_every_folder_of_tests() -> None:
    tests = ROOT.parent / "tests"
    folders = {path.parent.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}
    recipe = (ROOT.parent / "Makefile").read_text().partition("\ntest:")[2].partition("\n\n")[0]
    assert folders == set(re.findall(r"tests/(\w+)", recipe))


MOST_PARAMETERS = 8
LONGER: dict[str, int] = {}
"""Constructors that take more, and how many: this list only gets shorter."""


def test_no_constructor_takes_more_than_eight_parameters() -> None:
    found: dict[str, int] = {}
    for name, path in MODULES.items():
        for one in ast.walk(tree_of(path)):
            if isinstance(one, ast.ClassDef):
                for made in one.body:
                    if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                        given = made.args
                        count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1  # without self
                        if count > MOST_PARAMETERS:
                            found[f"{name}.{one.name}"] = count
    assert found == LONGER
