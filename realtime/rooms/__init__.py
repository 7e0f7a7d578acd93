"""Rooms and who is in them: `policy` decides, `service` acts, `store` keeps, `kinds` are their events."""
