"""Where the first links of a weight are, how many each weight has, and what signs they bear."""

from sparse_engine.topology.wiring.allocation import Allocation as Allocation
from sparse_engine.topology.wiring.allocation import EqualDensity as EqualDensity
from sparse_engine.topology.wiring.allocation import ERKDensity as ERKDensity
from sparse_engine.topology.wiring.barabasi_albert import BarabasiAlbert as BarabasiAlbert
from sparse_engine.topology.wiring.base import Wiring as Wiring
from sparse_engine.topology.wiring.base import links_at as links_at
from sparse_engine.topology.wiring.block import Block as Block
from sparse_engine.topology.wiring.distance import Distance as Distance
from sparse_engine.topology.wiring.erdos_renyi import ErdosRenyi as ErdosRenyi
from sparse_engine.topology.wiring.fan_in import ConstantFanIn as ConstantFanIn
from sparse_engine.topology.wiring.graph import FromGraph as FromGraph
from sparse_engine.topology.wiring.receptive_field import ReceptiveField as ReceptiveField
from sparse_engine.topology.wiring.signs import Dale as Dale
from sparse_engine.topology.wiring.signs import RandomSigns as RandomSigns
from sparse_engine.topology.wiring.signs import Signs as Signs
from sparse_engine.topology.wiring.signs import apply_signs as apply_signs
from sparse_engine.topology.wiring.watts_strogatz import WattsStrogatz as WattsStrogatz
from sparse_engine.topology.wiring.wire import wire as wire
