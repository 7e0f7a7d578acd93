"""Messages: their kinds of events, who may write, edit and delete them, and how they are read."""
