"""The LSTM's contestants."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.cells.family import Case
from benchmarks.cells.gated import Gated
from sparse_engine.nn import SparseLSTM


class Lstm(Gated):
    """Contestants that compute SparseLSTM's function."""

    network = SparseLSTM
    dense_name = "nn.LSTM"
    cases = (
        Case(1024, 0.50),
        Case(1024, 0.33),
        Case(1024, 0.20),
        Case(1024, 0.10, against="nn.LSTM", target=4.5),
        Case(1024, 0.05, against="nn.LSTM", target=8),
        Case(1024, 0.01, against="nn.LSTM", target=9),
        Case(4096, 0.05, against="nn.LSTM", target=6),
        Case(4096, 0.01, against="nn.LSTM", target=20),
        Case(
            1500,
            0.33,
            steps=35,
            batch=20,
            inputs=1500,
            input_density=0.33,
            against="nn.LSTM",
            target=2.2,
        ),
    )

    def states(self, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        states, h, c = [], self.zeros(), self.zeros()
        for step in inputs + bias:
            i, f, g, o = torch.addmm(step, h, weight.T).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states)
