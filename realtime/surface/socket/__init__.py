"""The requests and acks of the socket."""
