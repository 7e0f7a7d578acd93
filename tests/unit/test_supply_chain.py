"""What is said of the dependencies: faults are found, and what could not be asked is not called free of faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tools import supply_chain

if TYPE_CHECKING:
    import pathlib

NOTHING = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
FAULTY = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}
UNKNOWN = {"dependencies": [{"name": "a", "skip_reason": "not found"}]}
WEB_NOTHING: dict[str, Any] = {"vulnerabilities": {}}


def tools(folder: pathlib.Path, python: object, web: object) -> tuple[pathlib.Path, pathlib.Path]:
    """Make programs that print what `pip-audit` and `npm audit` would."""
    for name, said in (("pip-audit", python), ("npm", web)):
        program = folder / name
        program.write_text(
            f"#!/bin/sh\ncat <<'E'\n{json.dumps(said) if said is not None else 'no route to host'}\nE\nexit 1\n", "utf-8"
        )
        program.chmod(0o755)
    return folder, folder / "npm"


def test_a_known_fault_ends_the_audit_with_a_failure(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert supply_chain.audit(*tools(tmp_path, FAULTY, WEB_NOTHING)) == 1
    assert "a 1: CVE-1, mended in 2\n1 known faults in 4 of 4 lock files." in capsys.readouterr().out


def test_a_fault_of_the_browser_client_counts_as_well(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    web = {"vulnerabilities": {"left": {"severity": "high", "range": "<2"}}}
    assert supply_chain.audit(*tools(tmp_path, NOTHING, web)) == 1
    assert "left: high, in <2" in capsys.readouterr().out


def test_without_faults_the_audit_passes(tmp_path: pathlib.Path) -> None:
    assert supply_chain.audit(*tools(tmp_path, NOTHING, WEB_NOTHING)) == 0


@pytest.mark.parametrize("python", [UNKNOWN, None])
def test_where_nobody_answers_the_audit_says_so_and_claims_nothing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], python: object
) -> None:
    assert supply_chain.audit(*tools(tmp_path, python, None)) == 0
    said = capsys.readouterr().out
    assert said.count("Not audited: ") == 4
    assert "known faults" not in said


def test_the_engines_inside_the_wheels_are_named_with_their_versions() -> None:
    found = {one["name"]: one["version"] for one in supply_chain.engines()}
    assert set(found) == {"postgresql", "valkey"}
    assert all(version[0].isdigit() for version in found.values())
