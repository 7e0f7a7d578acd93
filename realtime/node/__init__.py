"""One node: composition root, start and stop, workers, embedded engines."""
