"""Truly sparse recurrent networks for PyTorch.

Only the links that exist are stored, multiplied and trained: :mod:`sparse_engine.nn` has the
layers, :mod:`sparse_engine.topology` the methods that rewire them, :mod:`sparse_engine.ops` the
operations underneath, :mod:`sparse_engine.convert` the conversions from and to other libraries, and
:mod:`sparse_engine.deploy` makes trained models small.

Every subpackage is imported when it is first used: ``import sparse_engine`` alone imports nothing,
and ``sparse_engine.nn`` works after it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse_engine import analysis as analysis
    from sparse_engine import c_library as c_library
    from sparse_engine import callbacks as callbacks
    from sparse_engine import connectome as connectome
    from sparse_engine import convert as convert
    from sparse_engine import deploy as deploy
    from sparse_engine import distributed as distributed
    from sparse_engine import estimators as estimators
    from sparse_engine import hub as hub
    from sparse_engine import lab as lab
    from sparse_engine import models as models
    from sparse_engine import networkx as networkx
    from sparse_engine import nn as nn
    from sparse_engine import online as online
    from sparse_engine import ops as ops
    from sparse_engine import optim as optim
    from sparse_engine import topology as topology
    from sparse_engine.deploy import convert_model as convert_model
    from sparse_engine.deploy import quantize as quantize

__version__ = "0.1.0"

_SUBPACKAGES = (
    "analysis", "c_library", "callbacks", "connectome", "convert", "deploy", "distributed",
    "estimators", "hub", "lab", "models", "networkx", "nn", "online", "ops", "optim", "topology",
)  # fmt: skip
_OF_DEPLOY = ("convert_model", "quantize")


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    if name in _OF_DEPLOY:
        return getattr(import_module(f"{__name__}.deploy"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES, *_OF_DEPLOY})
