"""What a run found: in the terminal, as JSON, as one page of HTML, and as tables for the documentation."""
