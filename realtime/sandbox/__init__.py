"""Functions on bytes of others (pictures, pages, documents), run in small processes that may crash."""
