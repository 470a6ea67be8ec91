"""Whole models made of sparse layers, and plain descriptions of them."""

from sparse_engine.models.language_model import LanguageModel as LanguageModel
from sparse_engine.models.language_network import LanguageNetwork as LanguageNetwork
from sparse_engine.models.network import Network as Network
from sparse_engine.models.network import RecurrentNetwork as RecurrentNetwork
from sparse_engine.models.sequence import Forecaster as Forecaster
from sparse_engine.models.sequence import SequenceClassifier as SequenceClassifier
