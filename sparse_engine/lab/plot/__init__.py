"""Pictures with matplotlib. Every function takes the Axes to draw on, and returns them."""

from sparse_engine.extras import extra as _extra

with _extra("plot"):
    import matplotlib  # noqa: F401

from sparse_engine.lab.plot.curves import annealing_curve as annealing_curve
from sparse_engine.lab.plot.curves import balance as balance
from sparse_engine.lab.plot.curves import comparison as comparison
from sparse_engine.lab.plot.curves import learning_curve as learning_curve
from sparse_engine.lab.plot.curves import lesion_curves as lesion_curves
from sparse_engine.lab.plot.matrices import adjacency as adjacency
from sparse_engine.lab.plot.matrices import degrees as degrees
from sparse_engine.lab.plot.matrices import distances as distances
from sparse_engine.lab.plot.matrices import loops as loops
from sparse_engine.lab.plot.matrices import weights as weights
from sparse_engine.lab.plot.matrices import wiring as wiring
from sparse_engine.lab.plot.picture import panels as panels
from sparse_engine.lab.plot.picture import picture as picture
