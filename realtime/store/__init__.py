"""PostgreSQL: the only place that keeps anything. One module per aggregate, SQL in `queries/`, schema in `migrations/`."""
