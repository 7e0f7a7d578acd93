"""The REST surface: a table of operations (`routes`), the ring around each (`edge`), and the documents made from the table."""
