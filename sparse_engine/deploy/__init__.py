"""Trained networks made small: dense to sparse, and sparse to 8 or 16 bits per value."""

from sparse_engine.deploy.convert_model import convert_model as convert_model
from sparse_engine.deploy.convert_model import to_dense as to_dense
from sparse_engine.deploy.criteria import ActivationAware as ActivationAware
from sparse_engine.deploy.criteria import Criterion as Criterion
from sparse_engine.deploy.criteria import GateMagnitude as GateMagnitude
from sparse_engine.deploy.criteria import LargestMagnitude as LargestMagnitude
from sparse_engine.deploy.quantize import quantize as quantize
