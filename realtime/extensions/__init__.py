"""Namespaces of one's own, by python-socketio's API."""
