"""Rewiring: prune, grow and value rules, the methods made of them, and initial wirings."""

from sparse_engine.topology.grow import GradientGrowth as GradientGrowth
from sparse_engine.topology.grow import Grow as Grow
from sparse_engine.topology.grow import NewLinkInit as NewLinkInit
from sparse_engine.topology.grow import NormalInit as NormalInit
from sparse_engine.topology.grow import RandomGrowth as RandomGrowth
from sparse_engine.topology.init.exponential_distance import (
    ExponentialDistance as ExponentialDistance,
)
from sparse_engine.topology.init.random import BarabasiAlbert as BarabasiAlbert
from sparse_engine.topology.init.random import ConstantFanIn as ConstantFanIn
from sparse_engine.topology.init.random import ErdosRenyi as ErdosRenyi
from sparse_engine.topology.init.random import ReceptiveField as ReceptiveField
from sparse_engine.topology.init.random import StochasticBlockModel as StochasticBlockModel
from sparse_engine.topology.init.random import WattsStrogatz as WattsStrogatz
from sparse_engine.topology.init.wiring import Allocation as Allocation
from sparse_engine.topology.init.wiring import Dale as Dale
from sparse_engine.topology.init.wiring import EqualDensity as EqualDensity
from sparse_engine.topology.init.wiring import ERKDensity as ERKDensity
from sparse_engine.topology.init.wiring import FromGraph as FromGraph
from sparse_engine.topology.init.wiring import RandomSigns as RandomSigns
from sparse_engine.topology.init.wiring import SignInit as SignInit
from sparse_engine.topology.init.wiring import Wiring as Wiring
from sparse_engine.topology.init.wiring import wire as wire
from sparse_engine.topology.links import links_at as links_at
from sparse_engine.topology.links import topology_hash as topology_hash
from sparse_engine.topology.methods.deep_r import DeepR as DeepR
from sparse_engine.topology.methods.deep_r import PeriodicDeepR as PeriodicDeepR
from sparse_engine.topology.methods.no_growth import GradualPruning as GradualPruning
from sparse_engine.topology.methods.no_growth import NarangPruning as NarangPruning
from sparse_engine.topology.methods.no_growth import Static as Static
from sparse_engine.topology.methods.random_growth import DSR as DSR
from sparse_engine.topology.methods.random_growth import ITOP as ITOP
from sparse_engine.topology.methods.random_growth import MEST as MEST
from sparse_engine.topology.methods.random_growth import SET as SET
from sparse_engine.topology.methods.random_growth import ImportanceSET as ImportanceSET
from sparse_engine.topology.methods.random_growth import Selfish as Selfish
from sparse_engine.topology.methods.scored_growth import CHT as CHT
from sparse_engine.topology.methods.scored_growth import GSE as GSE
from sparse_engine.topology.methods.scored_growth import SNFS as SNFS
from sparse_engine.topology.methods.scored_growth import CHTs as CHTs
from sparse_engine.topology.methods.scored_growth import CHTss as CHTss
from sparse_engine.topology.methods.scored_growth import GraNet as GraNet
from sparse_engine.topology.methods.scored_growth import RigL as RigL
from sparse_engine.topology.prune import Magnitude as Magnitude
from sparse_engine.topology.prune import Prune as Prune
from sparse_engine.topology.prune import SignedMagnitude as SignedMagnitude
from sparse_engine.topology.rewiring import Rewiring as Rewiring
from sparse_engine.topology.schedule import NarangRamp as NarangRamp
from sparse_engine.topology.track import Measure as Measure
from sparse_engine.topology.track import Tracker as Tracker
