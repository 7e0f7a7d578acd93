"""Session ids."""

from __future__ import annotations

import base64
import os


def new_sid() -> str:
    """Make an id of 160 random bits: it lets in whoever shows it, so nobody may guess it."""
    return base64.urlsafe_b64encode(os.urandom(20)).rstrip(b"=").decode()
