"""What a run reads: processes under /proc, Prometheus pages, distributions of latency."""
