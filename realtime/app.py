"""The composition root: every part is made here by hand, opened and closed in order."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)
