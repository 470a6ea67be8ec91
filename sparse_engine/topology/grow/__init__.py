"""Grow rules: where a rewiring makes new links."""

from sparse_engine.topology.grow.base import Grow as Grow
from sparse_engine.topology.grow.candidates import CandidateGradient as CandidateGradient
from sparse_engine.topology.grow.ch2_l3n import CH2L3n as CH2L3n
from sparse_engine.topology.grow.ch3_l3 import CH3L3 as CH3L3
from sparse_engine.topology.grow.equal_per_gate import EqualPerGate as EqualPerGate
from sparse_engine.topology.grow.gradient import Gradient as Gradient
from sparse_engine.topology.grow.gradient import Momentum as Momentum
from sparse_engine.topology.grow.link_prediction import LinkPrediction as LinkPrediction
from sparse_engine.topology.grow.never_used import NeverUsed as NeverUsed
from sparse_engine.topology.grow.soft_prediction import SoftPrediction as SoftPrediction
from sparse_engine.topology.grow.uniform import Uniform as Uniform
