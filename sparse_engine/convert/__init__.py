"""Conversions from and to SciPy, npz files, torch.sparse, torch_sparse, networkx, edge lists."""

from sparse_engine.convert.edge_list import read_edge_list as read_edge_list
from sparse_engine.convert.edge_list import write_edge_list as write_edge_list
from sparse_engine.convert.networkx import from_networkx as from_networkx
from sparse_engine.convert.networkx import to_networkx as to_networkx
from sparse_engine.convert.npz import read_npz as read_npz
from sparse_engine.convert.scipy import from_scipy as from_scipy
from sparse_engine.convert.scipy import to_scipy as to_scipy
from sparse_engine.convert.torch import from_torch as from_torch
from sparse_engine.convert.torch import to_torch_coo as to_torch_coo
from sparse_engine.convert.torch import to_torch_sparse as to_torch_sparse
