"""Between nodes: servers, channels, heartbeats, sealed envelopes. It knows no rooms."""
