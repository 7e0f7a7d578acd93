"""The hosts of a PostgreSQL URL, each as a URL of its own. Pure.

libpq's forms: `postgresql://role:secret@one:5432,two:5433/database`, and `postgresql:///database?host=one,two&port=5432,5433`.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit


def each(url: str) -> list[str]:
    """Return one URL for each host that a URL names, in their order; a URL that names one or none as it is."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [parts._replace(netloc=f"{user}{at}{host}").geturl() for host in hosts.split(",")]
    query = parse_qsl(parts.query, keep_blank_values=True)
    named = dict(query)
    found = named.get("host", "").split(",")
    if hosts or len(found) < 2:
        return [url]
    ports = named.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(found)
    rest = [(key, value) for key, value in query if key not in ("host", "port")]
    start = f"{parts.scheme}://{parts.netloc}{parts.path}?"
    return [
        start + _encode([*rest, ("host", host), *([("port", port)] if port else [])])
        for host, port in zip(found, ports, strict=False)
    ]


def shown(url: str) -> str:
    """Return where a URL leads, without its secrets: `role@host:port/database`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL that cannot be read)"
    if "@" in url and "@" not in parts.netloc:
        return "(a URL that cannot be read)"  # a password with / ? or #: what looks like the rest may be a part of it
    user, _, hosts = parts.netloc.rpartition("@")
    named = dict(parse_qsl(parts.query))
    user = user.partition(":")[0] or quote(named.get("user", ""))
    hosts = hosts or named.get("host", "")
    return f"{user}{'@' if user else ''}{hosts}/{parts.path.lstrip('/') or named.get('dbname', named.get('database', ''))}"


def by_network(url: str) -> bool:
    """Tell whether a URL names hosts, and not the directory of a Unix socket."""
    return bool(urlsplit(url).netloc.rpartition("@")[2])


def _encode(query: list[tuple[str, str]]) -> str:
    return urlencode(query, quote_via=quote, safe="/")
