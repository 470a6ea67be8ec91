"""Published training methods, one call each."""

from sparse_engine.topology.presets.deep_r import DeepR as DeepR
from sparse_engine.topology.presets.deep_r import PeriodicDeepR as PeriodicDeepR
from sparse_engine.topology.presets.dsr import DSR as DSR
from sparse_engine.topology.presets.gradual_pruning import GradualPruning as GradualPruning
from sparse_engine.topology.presets.granet import GraNet as GraNet
from sparse_engine.topology.presets.gse import GSE as GSE
from sparse_engine.topology.presets.itop import ITOP as ITOP
from sparse_engine.topology.presets.mest import MEST as MEST
from sparse_engine.topology.presets.narang_pruning import NarangPruning as NarangPruning
from sparse_engine.topology.presets.rigl import RigL as RigL
from sparse_engine.topology.presets.selfish import Selfish as Selfish
from sparse_engine.topology.presets.set import SET as SET
from sparse_engine.topology.presets.snfs import SNFS as SNFS
from sparse_engine.topology.presets.static import Static as Static
