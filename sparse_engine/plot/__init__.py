"""Pictures with matplotlib. Every function takes the Axes to draw on and returns them."""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("pictures need matplotlib: pip install 'sparse_engine[plot]'") from error

from sparse_engine.plot.adjacency import adjacency as adjacency
from sparse_engine.plot.curve import learning_curve as learning_curve
from sparse_engine.plot.distance_matrix import distance_matrix as distance_matrix
from sparse_engine.plot.picture import picture as picture
