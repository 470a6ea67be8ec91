"""Grow rules: where a rewiring makes new links."""

from sparse_engine.topology.grow.base import Grow as Grow
from sparse_engine.topology.grow.equal_per_gate import EqualPerGate as EqualPerGate
from sparse_engine.topology.grow.uniform import Uniform as Uniform
