"""Redistribution: how many links each weight of a model gets back."""

from sparse_engine.topology.redistribution.base import NoRedistribution as NoRedistribution
from sparse_engine.topology.redistribution.base import Redistribution as Redistribution
