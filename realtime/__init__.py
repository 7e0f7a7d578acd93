"""Roomwire: a durable, ordered real-time backend for chat and collaboration."""

__version__ = "0.3.0"
