"""What the server is made of: `sbom` writes it down (CycloneDX), `audit` looks for known faults in it.

Both read the lock files, so they say what a fresh environment gets, not what happens to be installed here.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
LOCKS = ("runtime", "bench", "dev")


class CannotTell(Exception):
    """The service that knows of faults does not answer here."""


def run(*command: str | pathlib.Path, folder: pathlib.Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program; its status is looked at by the caller."""
    return subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


# -- what it is made of -----------------------------------------------------------------------------


def sbom(tools: pathlib.Path, npm: pathlib.Path) -> dict[str, Any]:
    """Return one CycloneDX document: the Python packages, the browser client's packages, and the engines inside the wheels."""
    python = run(
        tools / "cyclonedx-py", "requirements", "requirements/runtime.txt", "--pyproject", "pyproject.toml",
        "--of", "JSON", "--output-reproducible",
    )  # fmt: skip
    web = run(npm, "sbom", "--sbom-format", "cyclonedx", "--omit", "dev", "--package-lock-only", folder=ROOT / "web")
    if python.returncode or web.returncode:
        raise SystemExit(f"The bill of materials could not be made: {(python.stderr or web.stderr).strip().splitlines()[-1]}")
    document: dict[str, Any] = json.loads(python.stdout)
    for component in document["components"]:
        component.pop("description", None)  # the line of the lock file, with all its hashes once more
        component.pop("externalReferences", None)  # a guess at where it was fetched from
    document["components"] += json.loads(web.stdout)["components"] + engines()
    return document


def engines() -> list[dict[str, str]]:
    """Return the database servers that come inside wheels: no list of Python packages names them."""
    from realtime.node.engines import PROGRAMS, program  # not at the top: `audit` runs without the server's packages

    found = []
    for name in PROGRAMS:
        version = run(program(name), "--version").stdout
        number = next(word.removeprefix("v=") for word in version.split() if word.removeprefix("v=")[0].isdigit())
        found.append({"type": "application", "name": name, "version": number, "bom-ref": f"engine-{name}"})
    return found


# -- known faults -----------------------------------------------------------------------------------


def audit_python(tools: pathlib.Path, lock: str) -> list[str]:
    """Return the known faults of the locked packages, one line each. Raises CannotTell."""
    done = run(
        tools / "pip-audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json",
        "-r", f"requirements/{lock}.txt", "--timeout", "10",
    )  # fmt: skip
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise CannotTell(f"requirements/{lock}.txt") from None
    if all("skip_reason" in package for package in packages):
        raise CannotTell(f"requirements/{lock}.txt")
    return [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no release yet'}"
        for package in packages
        for fault in package.get("vulns", [])
    ]


def audit_web(npm: pathlib.Path) -> list[str]:
    """Return the known faults of the browser client's packages, one line each. Raises CannotTell."""
    done = run(npm, "audit", "--json", "--fetch-retries", "0", "--fetch-timeout", "10000", folder=ROOT / "web")
    try:
        found = json.loads(done.stdout)["vulnerabilities"]
    except (ValueError, KeyError):
        raise CannotTell("web/package-lock.json") from None
    return [f"{name}: {fault['severity']}, in {fault['range']}" for name, fault in found.items()]


def audit(tools: pathlib.Path, npm: pathlib.Path) -> int:
    """Print what is known to be wrong with what is locked; return the status to end with."""
    faults: list[str] = []
    audited = 0
    for ask in (*((lambda lock=lock: audit_python(tools, lock)) for lock in LOCKS), lambda: audit_web(npm)):
        try:
            faults += ask()
            audited += 1
        except CannotTell as unknown:
            print(f"Not audited: {unknown}. The service that knows of faults does not answer from here.")
    for fault in dict.fromkeys(faults):
        print(fault)
    if audited:
        print(f"{len(set(faults))} known faults in {audited} of {len(LOCKS) + 1} lock files.")
    return 1 if faults else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("sbom", "audit"))
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="folder of pip-audit and cyclonedx-py")
    parser.add_argument("--npm", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "sbom.json")
    chosen = parser.parse_args()
    tools, npm = chosen.tools.absolute(), chosen.npm.absolute()
    if chosen.action == "audit":
        return audit(tools, npm)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(sbom(tools, npm), indent=1) + "\n", "utf-8")
    print(f"Written to {chosen.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
