"""An outside client that measures servers: ours and its peers. It imports nothing from `realtime`."""
