"""Sparse weights and the layers made of them."""

from sparse_engine.nn.activations import AllReLU as AllReLU
from sparse_engine.nn.activations import SReLU as SReLU
from sparse_engine.nn.cell import Cell as Cell
from sparse_engine.nn.cells import *  # noqa: F403
from sparse_engine.nn.conductance import ConductanceWeight as ConductanceWeight
from sparse_engine.nn.grouped import GroupedWeight as GroupedWeight
from sparse_engine.nn.language import EmbeddingDropout as EmbeddingDropout
from sparse_engine.nn.language import LockedDropout as LockedDropout
from sparse_engine.nn.language import MixtureOfSoftmaxes as MixtureOfSoftmaxes
from sparse_engine.nn.language import SparseEmbedding as SparseEmbedding
from sparse_engine.nn.linear import SparseLinear as SparseLinear
from sparse_engine.nn.options import option as option
from sparse_engine.nn.recurrent import Recurrent as Recurrent
from sparse_engine.nn.regularization import DropConnect as DropConnect
from sparse_engine.nn.regularization import link_penalty as link_penalty
from sparse_engine.nn.signs import DaleSigns as DaleSigns
from sparse_engine.nn.signs import FixedSigns as FixedSigns
from sparse_engine.nn.spikes import AlphaSynapse as AlphaSynapse
from sparse_engine.nn.spikes import ATan as ATan
from sparse_engine.nn.spikes import ExponentialSynapse as ExponentialSynapse
from sparse_engine.nn.spikes import SuperSpike as SuperSpike
from sparse_engine.nn.spikes import Surrogate as Surrogate
from sparse_engine.nn.spikes import Triangle as Triangle
from sparse_engine.nn.weight import SparseWeight as SparseWeight
from sparse_engine.ops.continuous import RK4 as RK4
from sparse_engine.ops.continuous import Euler as Euler
