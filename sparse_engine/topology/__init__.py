"""Rewiring: a prune rule and a grow rule, and the methods that are made of them."""

from sparse_engine.topology.birth import Birth as Birth
from sparse_engine.topology.birth import Normal as Normal
from sparse_engine.topology.birth import Zero as Zero
from sparse_engine.topology.density import Cubic as Cubic
from sparse_engine.topology.density import NarangRamp as NarangRamp
from sparse_engine.topology.density import Sigmoid as Sigmoid
from sparse_engine.topology.dynamic import Dynamic as Dynamic
from sparse_engine.topology.grow import Grow as Grow
from sparse_engine.topology.grow import Uniform as Uniform
from sparse_engine.topology.presets import SET as SET
from sparse_engine.topology.presets import Static as Static
from sparse_engine.topology.prune import GlobalMagnitude as GlobalMagnitude
from sparse_engine.topology.prune import Magnitude as Magnitude
from sparse_engine.topology.prune import Prune as Prune
from sparse_engine.topology.prune import TwoSided as TwoSided
from sparse_engine.topology.redistribution import NoRedistribution as NoRedistribution
from sparse_engine.topology.redistribution import Redistribution as Redistribution
from sparse_engine.topology.rewiring import rewire_weight as rewire_weight
from sparse_engine.topology.schedule import Constant as Constant
from sparse_engine.topology.schedule import Cosine as Cosine
from sparse_engine.topology.schedule import Exponential as Exponential
from sparse_engine.topology.schedule import Linear as Linear
from sparse_engine.topology.schedule import Schedule as Schedule
from sparse_engine.topology.schedule import StopAfter as StopAfter
from sparse_engine.topology.schedule import as_schedule as as_schedule
