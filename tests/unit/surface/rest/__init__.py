"""The REST surface alone, with services that answer from memory."""
