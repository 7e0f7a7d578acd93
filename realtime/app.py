"""The composition root: every part is made here by hand, opened and closed in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web

from realtime import api, model
from realtime.api.address import client_address
from realtime.auth.keys import Keyring
from realtime.auth.passwords import Passwords
from realtime.auth.service import Accounts
from realtime.contract import rest, socket
from realtime.contract.types import MAX_BODY_CHARS
from realtime.engines import Engines
from realtime.gateway import CloseReason, Gateway, GatewayConfig, event_frame, event_of
from realtime.gateway.dispatch import Dispatch, room_added
from realtime.gateway.hub import Hub
from realtime.limits import TokenBucket
from realtime.presence.lease import Leases
from realtime.presence.service import Presence
from realtime.rooms import control
from realtime.rooms.bus import Bus
from realtime.rooms.feeds import Feeds
from realtime.rooms.feeds import Settings as FeedSettings
from realtime.rooms.frames import EventCodec
from realtime.rooms.service import Rooms
from realtime.rooms.writer import Writer
from realtime.store import migrate
from realtime.store.events import EventStore
from realtime.store.pool import Database
from realtime.store.rooms import RoomStore
from realtime.store.sessions import SessionStore
from realtime.store.signing_keys import SigningKeyStore
from realtime.store.users import UserStore
from realtime.telemetry import logs
from realtime.telemetry.loop_lag import LoopLag
from realtime.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.config import Config

logger = logging.getLogger(__name__)
