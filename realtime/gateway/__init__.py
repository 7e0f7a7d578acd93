"""Live connections: from bytes to requests and back.

`server` (HTTP) → `transport` (a WebSocket) or a poll → `session` (Engine.IO) → `connection` (Socket.IO) → `dispatch`
(what requests mean). `websocket`, `engineio` and `socketio` are the codecs, without I/O.
"""
