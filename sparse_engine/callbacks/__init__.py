"""Rewiring within the trainers of other libraries.

Each library has its module with a class ``Rewire``: :mod:`sparse_engine.callbacks.lightning`,
:mod:`~sparse_engine.callbacks.huggingface`, :mod:`~sparse_engine.callbacks.accelerate` and
:mod:`~sparse_engine.callbacks.skorch`. Only these modules import the libraries.
:mod:`~sparse_engine.callbacks.tensorboard` shows the records of a rewiring.
"""

from sparse_engine.callbacks.optimizer_hook import OptimizerHook as OptimizerHook
