"""The ordered log of every room: writer, feeds, catch-up, reconciliation."""
