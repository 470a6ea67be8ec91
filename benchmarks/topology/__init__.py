"""Cost of rewiring, one question per file."""
