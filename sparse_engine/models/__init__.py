"""Whole models made of sparse layers."""

from sparse_engine.models.feed_forward import set_density as set_density
from sparse_engine.models.language_model import LanguageModel as LanguageModel
from sparse_engine.models.mlp import SparseMLP as SparseMLP
from sparse_engine.models.rbm import SparseRBM as SparseRBM
from sparse_engine.models.sequence import SequenceModel as SequenceModel
