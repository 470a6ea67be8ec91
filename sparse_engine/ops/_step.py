"""One time step of a whole network in one operation without gradients, for streams.

The operation of a cell, such as ``lstm_step``, runs all layers: it returns the output and the
states that the layers' operations give for sequences of one step.
"""

from __future__ import annotations

from torch import Tensor

from sparse_engine.ops._dispatch.fake import fake

#: The number of states of each cell that has the operation.
STATES = {"rnn": 1, "lstm": 2, "gru": 1, "mgu": 1}


def _results(count: int, x: Tensor, layers: int, hidden: int) -> list[Tensor]:
    one = (*x.shape[:-1], hidden)
    return [x.new_empty(one), *(x.new_empty(layers, *one) for _ in range(count))]


for _cell, _count in STATES.items():

    @fake(f"{_cell}_step")
    def _(x, layers, hidden, *, count=_count, **_):
        return _results(count, x, layers, hidden)
