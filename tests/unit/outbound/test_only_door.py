"""The guard is the only door: no other module opens an HTTP connection to a URL that somebody else may have named."""

from __future__ import annotations

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[3] / "realtime"
CLIENTS = {"ClientSession", "TCPConnector", "urlopen", "HTTPConnection", "HTTPSConnection", "http_connect"}


def names(path: pathlib.Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_no_other_module_makes_an_http_client() -> None:
    users = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if names(path) & CLIENTS}
    assert users == {"outbound/client.py"}
