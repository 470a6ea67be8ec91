"""Cases of single operations, one file per operation."""
