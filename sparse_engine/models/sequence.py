"""Models for sequences: a recurrent network with a linear readout of its states."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparse_engine.nn import Recurrent
from sparse_engine.nn.options import check_fraction


class SequenceModel(nn.Module):
    """Recurrent network with a linear readout ``y = W h + b`` of its last state, or of every state.

    Args:
        recurrent: the network, time first and of one direction.
        outputs: number of outputs.
        every_step: whether each step has an output; otherwise the last step of a sequence has one.
        embedding: module that maps integer inputs to features, such as :class:`torch.nn.Embedding`;
            None for inputs that are features.
        step_dropout: fraction of the steps of each sequence whose features are 0 in training, while
            the others are scaled.
        readout_std: standard deviation of normal initial readout weights; by default they start at
            U(-b, b) with ``b = sqrt(6 / (hidden + outputs))`` (Glorot). The bias starts at 0.
        generator: source of randomness on the CPU for the readout.

    Raises:
        ValueError: a step_dropout outside [0, 1].

    Example:
        >>> model = SequenceModel(SparseLSTM(3, 64, density=0.1), outputs=10)
        >>> model(torch.ones(20, 8, 3)).shape
        torch.Size([8, 10])
    """

    def __init__(
        self,
        recurrent: Recurrent,
        outputs: int,
        *,
        every_step: bool = False,
        embedding: nn.Module | None = None,
        step_dropout: float = 0.0,
        readout_std: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if embedding is not None:
            self.embedding = embedding
        check_fraction("step_dropout", step_dropout)
        # The dimensions that are dropped whole are the last: features of a step and sequence.
        self.step_dropout = nn.Dropout1d(step_dropout) if step_dropout else nn.Identity()
        self.recurrent = recurrent
        self.every_step = every_step
        hidden = recurrent.size_of("h0")
        self.readout = nn.Linear(hidden, outputs)
        bound = math.sqrt(6 / (hidden + outputs))
        with torch.no_grad():
            if readout_std is None:
                self.readout.weight.uniform_(-bound, bound, generator=generator)
            else:
                self.readout.weight.normal_(std=readout_std, generator=generator)
            self.readout.bias.zero_()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the outputs, ``[batch, outputs]``, or ``[steps, batch, outputs]`` of every step.

        Args:
            x: features ``[steps, batch, features]``, or integers ``[steps, batch]`` for the
                embedding.
            lengths: number of steps of each sequence, ``[batch]``, where sequences are padded at
                their ends; the output is that of a sequence's own last step.
        """
        if hasattr(self, "embedding"):
            x = self.embedding(x)
        states = self.recurrent(self.step_dropout(x))[0]
        if self.every_step:
            return self.readout(states)
        if lengths is None:
            return self.readout(states[-1])
        return self.readout(states[lengths - 1, torch.arange(states.shape[1])])
