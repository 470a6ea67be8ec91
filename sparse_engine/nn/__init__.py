"""Sparse weights and the layers made of them."""

from sparse_engine.nn.all_relu import AllReLU as AllReLU
from sparse_engine.nn.conductance import ConductanceWeight as ConductanceWeight
from sparse_engine.nn.grouped import GroupedWeight as GroupedWeight
from sparse_engine.nn.gru import SparseGRU as SparseGRU
from sparse_engine.nn.linear import SparseLinear as SparseLinear
from sparse_engine.nn.lstm import SparseLSTM as SparseLSTM
from sparse_engine.nn.ltc import SparseLTC as SparseLTC
from sparse_engine.nn.penalty import link_penalty as link_penalty
from sparse_engine.nn.rnn import SparseRNN as SparseRNN
from sparse_engine.nn.signs import DaleSigns as DaleSigns
from sparse_engine.nn.signs import FixedSigns as FixedSigns
from sparse_engine.nn.signs import Signs as Signs
from sparse_engine.nn.srelu import SReLU as SReLU
from sparse_engine.nn.weight import SparseWeight as SparseWeight
