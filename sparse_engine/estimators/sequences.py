"""Classifier and regressor of sequences: sparse recurrent networks as skorch trains them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.extras import extra
from sparse_engine.models import SequenceModel
from sparse_engine.nn import SparseGRU, SparseLSTM, SparseRNN

with extra("skorch"):
    from skorch import NeuralNetClassifier, NeuralNetRegressor

CELLS = {"rnn": SparseRNN, "lstm": SparseLSTM, "gru": SparseGRU}


class SequenceNetwork(nn.Module):
    """Sparse recurrent network with a linear readout of the last state.

    Args:
        inputs: number of inputs of a step.
        outputs: number of outputs.
        cell: "rnn", "lstm" or "gru".
        hidden: number of units.
        density: density of the recurrent weight.
        layers: number of layers.

    Raises:
        ValueError: another cell.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        cell: str = "lstm",
        hidden: int = 128,
        density: float = 0.1,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"expected cell in {sorted(CELLS)}, found {cell!r}")
        recurrent = CELLS[cell](inputs, hidden, layers, density=density)
        self.model = SequenceModel(recurrent, outputs)

    def forward(self, X: Tensor) -> Tensor:
        """Return ``[batch, outputs]`` for sequences ``[batch, steps, inputs]``."""
        return self.model(X.transpose(0, 1))


class SequenceClassifier(NeuralNetClassifier):
    """Classifier of sequences ``[sequences, steps, inputs]``, with any argument of skorch's.

    The numbers of inputs and classes are those of the data; settings of the network have the prefix
    ``module__``, as skorch has it. ``callbacks=[Rewire(partial(SET, fraction=0.3, every=100))]``
    rewires it, see :class:`sparse_engine.callbacks.skorch.Rewire`.

    Raises:
        ValueError: on fit, other than three dimensions.

    Example:
        >>> from sparse_engine.estimators.sequences import SequenceClassifier
        >>> X, y = torch.randn(40, 10, 3), torch.randint(2, (40,))
        >>> model = SequenceClassifier(module__cell="gru", max_epochs=2, verbose=0)
        >>> model.fit(X, y).predict(X).shape
        (40,)
    """

    def __init__(self, module: Any = SequenceNetwork, *args: Any, **options: Any) -> None:
        options.setdefault("criterion", nn.CrossEntropyLoss)
        options.setdefault("optimizer", torch.optim.Adam)
        super().__init__(module, *args, **options)

    def fit(self, X: Any, y: Any, **options: Any) -> SequenceClassifier:
        """Train a new network on sequences and their classes."""
        self.set_params(module__inputs=_inputs(X), module__outputs=len(np.unique(y)))
        return super().fit(X, y, **options)


class SequenceRegressor(NeuralNetRegressor):
    """Regressor of sequences to ``[sequences, targets]``, otherwise as :class:`SequenceClassifier`.

    Raises:
        ValueError: on fit, X of other than three dimensions or y of other than two.
    """

    def __init__(self, module: Any = SequenceNetwork, *args: Any, **options: Any) -> None:
        options.setdefault("optimizer", torch.optim.Adam)
        super().__init__(module, *args, **options)

    def fit(self, X: Any, y: Any, **options: Any) -> SequenceRegressor:
        """Train a new network on sequences and their targets."""
        if np.ndim(y) != 2:
            raise ValueError(f"expected y of shape [sequences, targets], found {[*np.shape(y)]}")
        self.set_params(module__inputs=_inputs(X), module__outputs=np.shape(y)[1])
        return super().fit(X, y, **options)


def _inputs(X: Any) -> int:
    if np.ndim(X) != 3:
        raise ValueError(f"expected X of shape [sequences, steps, inputs], found {[*np.shape(X)]}")
    return int(np.shape(X)[2])
