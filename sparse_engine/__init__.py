"""Truly sparse recurrent networks for PyTorch.

Only the links that exist are stored, multiplied and trained: :mod:`sparse_engine.nn` has the
layers, :mod:`sparse_engine.topology` the rules that rewire them, :mod:`sparse_engine.ops` the
operations underneath, :mod:`sparse_engine.convert` the ways in and out.
"""

__version__ = "0.1.0"
