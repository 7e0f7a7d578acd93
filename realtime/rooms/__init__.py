"""Rooms: the ordered log in motion. `policy` decides, `writer` commits, `feed` orders, `feeds` delivers, `bus` carries."""
