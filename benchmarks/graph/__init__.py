"""Cost of the analysis of graphs, one question per file."""
