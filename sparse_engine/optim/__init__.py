"""Optimizers that know what a rewiring does to an average."""

from sparse_engine.optim.snt_asgd import SNTASGD as SNTASGD
