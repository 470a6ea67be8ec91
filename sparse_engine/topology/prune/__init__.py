"""Prune rules: which links a rewiring removes."""

from sparse_engine.topology.prune.magnitude import GlobalMagnitude as GlobalMagnitude
from sparse_engine.topology.prune.magnitude import GradientMagnitude as GradientMagnitude
from sparse_engine.topology.prune.magnitude import Magnitude as Magnitude
from sparse_engine.topology.prune.magnitude import Prune as Prune
from sparse_engine.topology.prune.magnitude import Share as Share
from sparse_engine.topology.prune.magnitude import SignedMagnitude as SignedMagnitude
from sparse_engine.topology.prune.magnitude import SoftMagnitude as SoftMagnitude
from sparse_engine.topology.prune.magnitude import Taylor as Taylor
from sparse_engine.topology.prune.sign import AssignedSign as AssignedSign
from sparse_engine.topology.prune.sign import SignChange as SignChange
from sparse_engine.topology.prune.structured import NeuronImportance as NeuronImportance
from sparse_engine.topology.prune.structured import PerGate as PerGate
from sparse_engine.topology.prune.threshold import AdaptiveThreshold as AdaptiveThreshold
from sparse_engine.topology.prune.threshold import GlobalThreshold as GlobalThreshold
from sparse_engine.topology.prune.threshold import NarangThreshold as NarangThreshold
