"""Grow rules: where a rewiring makes new links."""

from sparse_engine.topology.grow.base import Grow as Grow
from sparse_engine.topology.grow.gradient import CandidateGradientGrowth as CandidateGradientGrowth
from sparse_engine.topology.grow.gradient import GradientGrowth as GradientGrowth
from sparse_engine.topology.grow.gradient import MomentumGrowth as MomentumGrowth
from sparse_engine.topology.grow.link_prediction import CH3L3 as CH3L3
from sparse_engine.topology.grow.link_prediction import CH2L3n as CH2L3n
from sparse_engine.topology.grow.link_prediction import LinkPrediction as LinkPrediction
from sparse_engine.topology.grow.link_prediction import SoftPrediction as SoftPrediction
from sparse_engine.topology.grow.random import EqualPerGate as EqualPerGate
from sparse_engine.topology.grow.random import NeverUsed as NeverUsed
from sparse_engine.topology.grow.random import RandomGrowth as RandomGrowth
