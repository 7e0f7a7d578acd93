"""Who is there: users with a live connection on some node."""
