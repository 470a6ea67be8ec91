"""Published training methods, one call each."""

from sparse_engine.topology.presets.set import SET as SET
from sparse_engine.topology.presets.static import Static as Static
