"""Prune rules: which links a rewiring removes."""

from sparse_engine.topology.prune.base import Prune as Prune
from sparse_engine.topology.prune.base import Share as Share
from sparse_engine.topology.prune.fixed_sign import FixedSign as FixedSign
from sparse_engine.topology.prune.global_magnitude import GlobalMagnitude as GlobalMagnitude
from sparse_engine.topology.prune.gradient_magnitude import GradientMagnitude as GradientMagnitude
from sparse_engine.topology.prune.magnitude import Magnitude as Magnitude
from sparse_engine.topology.prune.narang_threshold import NarangThreshold as NarangThreshold
from sparse_engine.topology.prune.neuron_importance import NeuronImportance as NeuronImportance
from sparse_engine.topology.prune.per_gate import PerGate as PerGate
from sparse_engine.topology.prune.sign_change import SignChange as SignChange
from sparse_engine.topology.prune.soft_magnitude import SoftMagnitude as SoftMagnitude
from sparse_engine.topology.prune.taylor import Taylor as Taylor
from sparse_engine.topology.prune.threshold import GlobalThreshold as GlobalThreshold
from sparse_engine.topology.prune.threshold import Threshold as Threshold
from sparse_engine.topology.prune.two_sided import TwoSided as TwoSided
