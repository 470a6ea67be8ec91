"""Initial wirings, allocations of links to weights, and first signs."""

from sparse_engine.topology.init.allocation import Allocation as Allocation
from sparse_engine.topology.init.allocation import EqualDensity as EqualDensity
from sparse_engine.topology.init.allocation import ERKDensity as ERKDensity
from sparse_engine.topology.init.barabasi_albert import BarabasiAlbert as BarabasiAlbert
from sparse_engine.topology.init.base import Wiring as Wiring
from sparse_engine.topology.init.exponential_distance import (
    ExponentialDistance as ExponentialDistance,
)
from sparse_engine.topology.init.graph import FromGraph as FromGraph
from sparse_engine.topology.init.random import ConstantFanIn as ConstantFanIn
from sparse_engine.topology.init.random import ErdosRenyi as ErdosRenyi
from sparse_engine.topology.init.random import ReceptiveField as ReceptiveField
from sparse_engine.topology.init.random import (
    StochasticBlockModel as StochasticBlockModel,
)
from sparse_engine.topology.init.random import WattsStrogatz as WattsStrogatz
from sparse_engine.topology.init.signs import Dale as Dale
from sparse_engine.topology.init.signs import RandomSigns as RandomSigns
from sparse_engine.topology.init.signs import SignInit as SignInit
from sparse_engine.topology.init.signs import apply_signs as apply_signs
from sparse_engine.topology.init.wire import wire as wire
from sparse_engine.topology.links import links_at as links_at
