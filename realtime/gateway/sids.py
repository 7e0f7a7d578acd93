"""Session ids: `node.worker-and-random-bits`. The node's name, where it has one, tells a balancer where the session is."""

from __future__ import annotations

import base64
import os

SEPARATOR = "."
"""Behind the name of the node; not in the alphabet of what follows."""


def new_sid() -> str:
    """Make an id of 160 random bits: it lets in whoever shows it, so nobody may guess it."""
    return base64.urlsafe_b64encode(os.urandom(20)).rstrip(b"=").decode()
