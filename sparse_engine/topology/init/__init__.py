"""Initial wirings, allocations of links to weights, and first signs."""
