"""Optimizers and averages for networks that are rewired."""

from sparse_engine.optim.averaged_links import AveragedLinks as AveragedLinks
from sparse_engine.optim.snt_asgd import SNTASGD as SNTASGD
