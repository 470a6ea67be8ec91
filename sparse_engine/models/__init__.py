"""Whole models made of sparse layers, and plain descriptions of them."""

from sparse_engine.models.feed_forward import set_density as set_density
from sparse_engine.models.language_model import LanguageModel as LanguageModel
from sparse_engine.models.language_network import LanguageNetwork as LanguageNetwork
from sparse_engine.models.mlp import MLPNetwork as MLPNetwork
from sparse_engine.models.mlp import SparseMLP as SparseMLP
from sparse_engine.models.network import Network as Network
from sparse_engine.models.network import RecurrentNetwork as RecurrentNetwork
from sparse_engine.models.rbm import RBMNetwork as RBMNetwork
from sparse_engine.models.rbm import SparseRBM as SparseRBM
from sparse_engine.models.sequence import Forecaster as Forecaster
from sparse_engine.models.sequence import SequenceClassifier as SequenceClassifier
from sparse_engine.models.sequence import SequenceModel as SequenceModel
