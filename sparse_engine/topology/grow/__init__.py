"""Grow rules: where a rewiring makes new links."""

from sparse_engine.topology.grow.base import Grow as Grow
from sparse_engine.topology.grow.candidates import CandidateGradient as CandidateGradient
from sparse_engine.topology.grow.equal_per_gate import EqualPerGate as EqualPerGate
from sparse_engine.topology.grow.gradient import Gradient as Gradient
from sparse_engine.topology.grow.gradient import Momentum as Momentum
from sparse_engine.topology.grow.never_used import NeverUsed as NeverUsed
from sparse_engine.topology.grow.uniform import Uniform as Uniform
