"""What operators see: logs, metrics, the loop's lag. Never a secret, a token or a message's text."""
