"""Messages: writing, editing and deleting them."""
