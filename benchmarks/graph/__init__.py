"""What the analysis of a graph costs, one question per file."""
