"""Pin the container images that `deploy/` names to the digests which their tags have now. Needs Docker, and the network.

    python tools/pin_images.py            # writes image:tag@sha256:... into the files
    python tools/pin_images.py --check    # ends with 1 where a digest is missing or another than the tag's

A tag can be moved, a digest cannot: with it a later build gets the bytes that were tested.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
FILES = ("deploy/Dockerfile", "deploy/compose.yaml")
_IMAGE = re.compile(r"(?P<before>^FROM |^\s+image: )(?P<name>[\w./-]+:[\w.-]+)(?P<digest>@sha256:[0-9a-f]{64})?", re.MULTILINE)


def pinned(text: str, digests: dict[str, str]) -> str:
    """Return a file with each image's digest behind its tag. Our own image, which has no tag there, stays as it is."""
    return _IMAGE.sub(lambda found: f"{found['before']}{found['name']}@{digests[found['name']]}", text)


def images(text: str) -> set[str]:
    """Return the images of others that a file names, with their tags."""
    return {found["name"] for found in _IMAGE.finditer(text)}


def digest(image: str) -> str:
    """Ask the registry for the digest of a tag: of the list for all platforms."""
    asked = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    found = answer.stdout.strip()
    if answer.returncode or not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise SystemExit(f"No digest of {image}: {(answer.stderr or found).strip().splitlines()[-1:]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    texts = {ROOT / name: (ROOT / name).read_text("utf-8") for name in FILES}
    digests = {image: digest(image) for image in sorted(set().union(*map(images, texts.values())))}
    stale = {path: pinned(text, digests) for path, text in texts.items() if pinned(text, digests) != text}
    for path, text in stale.items():
        print(f"{path.relative_to(ROOT)}: {'not pinned' if check else 'pinned'}")
        if not check:
            path.write_text(text, "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
