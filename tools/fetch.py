"""Run pip or npm for the Makefile, and say within seconds when their registry cannot be reached. Standard library alone.

python tools/fetch.py .venv/bin/pip install …
python tools/fetch.py ../.venv/bin/npm ci …
"""

from __future__ import annotations

import os
import pathlib
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBE_S = 5.0
_INDEX = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
_SETTING = {"pip": "PIP_INDEX_URL", "npm": "npm_config_registry"}


def settings(program: str, tool: str) -> dict[str, str]:
    """Return what a tool was configured to, by the last part of each name."""
    command = [program, "config", "list"] if tool == "pip" else [program, "config", "get", "registry", "proxy", "https-proxy"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = {}
    for line in said.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip().rpartition(".")[2]] = value.strip().strip("'\"")
    return found


def index(program: str) -> str:
    """Return the index that pip asks when nothing else is configured, as pip itself has it; nothing where it does not tell."""
    python = pathlib.Path(program).parent / "python"
    try:
        return subprocess.run([str(python), "-c", _INDEX], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def reachable(url: str, within_s: float = PROBE_S) -> bool:
    """Tell whether anybody answers at a URL, whatever the answer; looking up its name may take no longer either."""
    answered: list[bool] = []

    def probe() -> None:
        try:
            urllib.request.urlopen(url, timeout=within_s).close()
        except urllib.error.HTTPError:
            answered.append(True)
        except urllib.error.URLError as error:
            answered.append(isinstance(error.reason, ssl.SSLError))  # the tool may have other certificates
        except OSError:
            answered.append(False)
        else:
            answered.append(True)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(within_s)
    return bool(answered and answered[0])


def plan(tool: str, command: Sequence[str], found: Mapping[str, str], *, answers: bool) -> list[str] | None:
    """Return what to run; None: there is no use in running anything.

    Args:
        found: As `settings` returns it.
        answers: Whether the registry does.
    """
    if answers:
        return [*command, *(["--fetch-retries=1"] if tool == "npm" else [])]
    if tool == "npm":
        return [*command, "--offline"]  # its cache may hold everything
    return [*command, "--no-index"] if "find-links" in found else None


def main(command: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    tool = pathlib.Path(command[0]).name
    found = settings(command[0], tool)
    url = found.get("registry", "") if tool == "npm" else found.get("index-url") or index(command[0])
    unknown = not url or found.get("proxy", "null") not in ("", "null") or found.get("no-index", "") not in ("", "0", "false")
    answers = unknown or reachable(url)
    planned = plan(tool, command, found, answers=answers)
    if planned is not None:
        quiet = None if answers else subprocess.DEVNULL
        environment = {"PIP_RETRIES": "2", **os.environ}
        status = subprocess.run(planned, check=False, env=environment, stderr=quiet, stdout=quiet).returncode
        if status == 0 or answers:
            if status:
                print(f"{tool} failed with status {status}: what it says above is why. Then run make again.", file=sys.stderr)
            return status
    print(
        f"{tool} cannot reach {urlsplit(url).hostname}: connect this machine to the network, or name a mirror that it reaches "
        f"({_SETTING[tool]}=…), and run make again.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
