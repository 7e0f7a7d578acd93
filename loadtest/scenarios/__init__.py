"""What is done to a server, one module per scenario."""
