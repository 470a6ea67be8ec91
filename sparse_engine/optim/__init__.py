"""Optimizers for networks that are rewired."""

from sparse_engine.optim.snt_asgd import SNTASGD as SNTASGD
