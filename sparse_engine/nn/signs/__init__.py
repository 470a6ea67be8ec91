"""Constraints that keep the signs of links while a network is trained."""

from sparse_engine.nn.signs.base import Signs as Signs
from sparse_engine.nn.signs.dale import DaleSigns as DaleSigns
from sparse_engine.nn.signs.fixed import FixedSigns as FixedSigns
