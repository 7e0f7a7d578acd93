"""The browser client, as files: its page, its hashed assets, and what lies beside the page."""

from __future__ import annotations

import hashlib
from mimetypes import guess_type
from typing import TYPE_CHECKING

from aiohttp import web

from realtime import errors
from realtime.headers import PAGE, accepts

if TYPE_CHECKING:
    import os
    import pathlib

    from realtime.surface.rest.edge import Edge

# No slash, no dot in front, no `..`: a name stays in its folder. It must have an extension, as built files do.
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.[A-Za-z0-9]+"
_TYPES = {  # what mimetypes says of these changes with the Python version
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_IMMUTABLE = "public, max-age=31536000, immutable"

NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Roomwire</title>
<h1>Roomwire is running</h1>
<p>The browser client has not been built. Run <code>make setup</code> and start again.</p>
<p>The interfaces are open: <a href="api/docs">documentation</a>.</p>
</html>
"""


def add_site(edge: Edge, folder: pathlib.Path | None) -> None:
    """Serve the browser client at `/`.

    Args:
        edge: Where the routes go.
        folder: With `index.html` and `assets/`; without a page in it (None: without a folder), `/` says how to build it.
    """

    async def page(request: web.Request) -> web.StreamResponse:
        try:
            return _named_anew(request, folder, "index.html")
        except errors.NotFound:
            return web.Response(status=503, text=NOT_BUILT, content_type="text/html")

    async def asset(request: web.Request) -> web.StreamResponse:
        response = _file(folder / "assets" if folder else None, request.match_info["name"])
        response.headers["Cache-Control"] = _IMMUTABLE  # the name holds a hash of the content
        return response

    async def beside(request: web.Request) -> web.StreamResponse:
        return _named_anew(request, folder, request.match_info["name"])

    edge.add("/", {"GET": page}, PAGE)
    edge.add(f"/assets/{{name:{_NAME}}}", {"GET": asset}, PAGE, template="/assets/{name}")
    edge.add(f"/{{name:{_NAME}}}", {"GET": beside}, PAGE, template="/{name}")


def _named_anew(request: web.Request, folder: pathlib.Path | None, name: str) -> web.Response:
    """Answer with a file whose name stays while its content changes, told apart by the content.

    Its time and size do not tell: packages and images made twice alike give every release the same time, and a page that names
    other assets has the same size.
    """
    path = folder / name if folder else None
    if path is None or not path.is_file():
        raise errors.NotFound
    headers = {
        "Vary": "Accept-Encoding",
        "Content-Type": _TYPES.get(path.suffix) or guess_type(name)[0] or "application/octet-stream",
    }
    for coding, ending in (("br", ".br"), ("gzip", ".gz")):
        beside = path.with_name(name + ending)
        if accepts(coding, request.headers.get("Accept-Encoding", "")) and beside.is_file():
            path, headers["Content-Encoding"] = beside, coding
            break
    content = path.read_bytes()
    headers["ETag"] = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    if headers["ETag"] in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, headers=headers)


class _File(web.FileResponse):
    """A file, or what the build has compressed beside it (`.br`, `.gz`), as the request accepts."""

    def _get_file_path_stat_encoding(self, accept_encoding: str) -> tuple[pathlib.Path | None, os.stat_result, str | None]:
        # aiohttp looks for the names alone and takes `br;q=0` for a wish.
        welcome = [coding for coding in ("br", "gzip") if accepts(coding, accept_encoding)]
        return super()._get_file_path_stat_encoding(" ".join(welcome))


def _file(folder: pathlib.Path | None, name: str) -> web.FileResponse:
    path = folder / name if folder else None
    if path is None or not path.is_file():
        raise errors.NotFound
    kind = _TYPES.get(path.suffix)
    return _File(path, headers={"Vary": "Accept-Encoding", **({"Content-Type": kind} if kind else {})})
