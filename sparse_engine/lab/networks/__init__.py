"""Descriptions of networks: plain settings from which a task builds its model."""

from sparse_engine.lab.networks.feed_forward import MLPNetwork as MLPNetwork
from sparse_engine.lab.networks.feed_forward import RBMNetwork as RBMNetwork
from sparse_engine.lab.networks.language import LanguageNetwork as LanguageNetwork
from sparse_engine.lab.networks.recurrent import Network as Network
from sparse_engine.lab.networks.recurrent import RecurrentNetwork as RecurrentNetwork
