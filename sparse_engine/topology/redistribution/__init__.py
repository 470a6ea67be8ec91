"""Redistribution: how many links each weight of a model gets back."""

from sparse_engine.topology.redistribution.base import NoRedistribution as NoRedistribution
from sparse_engine.topology.redistribution.base import Redistribution as Redistribution
from sparse_engine.topology.redistribution.evenly import Evenly as Evenly
from sparse_engine.topology.redistribution.magnitude import ByMagnitude as ByMagnitude
from sparse_engine.topology.redistribution.momentum import ByMomentum as ByMomentum
from sparse_engine.topology.redistribution.nonzeros import ByNonzeros as ByNonzeros
from sparse_engine.topology.redistribution.proportional import Proportional as Proportional
