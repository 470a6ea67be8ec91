"""What rewiring costs, one question per file."""
