"""Page on this machine that shows runs while they train, as ``sparse-engine watch`` serves it.

Nothing here writes, and nothing of a run's folder is believed: a damaged or hostile file shows as
what is missing from the page.
"""

from sparse_engine.lab.watch.folders import Runs as Runs
from sparse_engine.lab.watch.server import serve as serve
