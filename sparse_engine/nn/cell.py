"""The contract between a recurrent cell and the stack of layers that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from sparse_engine.nn import _init
from sparse_engine.nn._checks import LoadsRealParameters
from sparse_engine.nn.options import Option


class Cell(LoadsRealParameters):
    """What a kind of recurrent network says of itself, and how one of its layers runs.

    A cell is a subclass of :class:`Recurrent`, which implements all of this but :meth:`run_layer`.
    Its constructor makes the parameters of each layer and direction that :meth:`layers` names, such
    as ``weight_hh_l0``. docs/write_a_cell.md shows one.

    Attributes:
        options: the arguments that describe the network, by name. Each is checked, kept as an
            attribute and shown by ``print(network)``.
        states: the names of the states that go from step to step. The first is the output, too.
        step_inputs: names of what each step reads beside ``x``, such as its length in time. They
            are given to :meth:`Recurrent.run` as ``[steps, batch]`` tensors in the layout of the
            input, and are cut and reversed with it.
        packable: whether :meth:`run_layer` takes sequences of different lengths.
        bf16_devices: the types of devices on which the cell keeps activations in bfloat16 where
            autocast asks for that. Anywhere else its inputs become what its parameters are.
        gradient_growth: whether rules can grow links by the gradient of absent ones.
    """

    options: ClassVar[dict[str, Option]] = {}
    states: tuple[str, ...] = ("h0",)
    step_inputs: tuple[str, ...] = ()
    packable: bool = False
    bf16_devices: tuple[str, ...] = ()
    gradient_growth: bool = True

    hidden_size: int

    def run_layer(
        self, layer: str, x: Tensor, state: tuple[Tensor | None, ...], **given: Tensor
    ) -> tuple[Tensor, ...]:
        """Run one layer in one direction over a whole sequence.

        Args:
            layer: the suffix of its parameters, such as ``"l0"`` or ``"l1_reverse"``.
            x: ``[steps, batch, inputs]``, in the order in which this direction reads it.
            state: for each name in ``states`` the first state ``[batch, size_of(name)]``, or None
                for zeros.
            **given: by name, each of ``step_inputs``, and each of :meth:`constants`. For sequences
                of different lengths ``batch_sizes`` of a PackedSequence; x and the outputs are then
                ``[rows, ...]`` like its data.

        Returns:
            All outputs ``[steps, batch, size_of("h0")]``, and the final state of each name.
        """
        raise NotImplementedError

    def layers(self) -> Iterator[tuple[str, int]]:
        """Yield the suffix of each layer and direction in torch's order, and its inputs' number."""
        raise NotImplementedError

    def constants(self, layer: str, x: Tensor) -> dict[str, Tensor]:
        """Return what all steps of one sequence share, such as a dropout mask, by name.

        Called once for each layer and direction of a sequence, however it is cut into segments.
        """
        return {}

    def to_next_layer(self, outputs: Tensor) -> Tensor:
        """Return what the next layer reads of a layer's outputs; here the outputs themselves."""
        return outputs

    def size_of(self, state: str) -> int:
        """Return the number of features of a state; those of the first are those of the output."""
        return self.hidden_size

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return what ``reset_parameters`` fills a parameter of the network itself with.

        U(-b, b) with ``b = 1 / sqrt(hidden_size)``, on the CPU, unless a cell overrides this.
        """
        entries = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
        return _init.uniform_(entries, self.hidden_size, None)

    def check_options(self) -> None:
        """Raise ValueError for options that do not fit each other; each alone has been checked."""

    def keeps_bfloat16(self, device: str) -> bool:
        """Whether activations stay in bfloat16 on such a device where autocast asks for that."""
        return device in self.bf16_devices

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        return next(self.parameters()).dtype
