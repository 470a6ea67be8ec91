"""The GRU's contestants."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.cells.family import Case
from benchmarks.cells.gated import Gated
from sparse_engine.nn import SparseGRU


class Gru(Gated):
    """Contestants that compute SparseGRU's function."""

    network = SparseGRU
    dense_name = "nn.GRU"
    cases = (Case(1024, 0.05, against="nn.GRU", target=7),)

    def states(self, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        states, h = [], self.zeros()
        for step in inputs:
            x_r, x_z, x_n = step.chunk(3, -1)
            u_r, u_z, u_n = torch.addmm(bias, h, weight.T).chunk(3, -1)
            z = torch.sigmoid(x_z + u_z)
            h = torch.lerp(torch.tanh(x_n + torch.sigmoid(x_r + u_r) * u_n), h, z)
            states.append(h)
        return torch.stack(states)
