"""The client: connections, the processes that hold them, and the checker of what they receive."""
