"""Contract between a recurrent cell and the stack of layers that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.nn import _initial_values
from sparse_engine.nn._checks import LoadsRealParameters
from sparse_engine.nn.options import Option
from sparse_engine.nn.weight import SparseWeight


class Cell(LoadsRealParameters):
    """Description of a kind of recurrent network, and the method that runs one layer.

    A cell is a subclass of :class:`Recurrent`, which implements everything here but
    :meth:`run_layer`. The cell's constructor makes the parameters of each layer and direction that
    :meth:`layers` names, such as ``weight_hh_l0``. docs/write_a_cell.md shows an example.

    Attributes:
        options: the arguments that describe the network, by name. Each is checked, kept as an
            attribute and shown by ``print(network)``.
        states: names of the states that are passed from step to step. The first state is also the
            output.
        step_inputs: names of what each step reads beside ``x``, such as its timespan. They are
            passed to :meth:`Recurrent.run` as ``[steps, batch]`` tensors in the layout of the
            input, and are split and reversed with the input.
        packable: whether :meth:`run_layer` takes sequences of different lengths.
        resettable: whether :meth:`run_layer` takes ``resets``, the steps at which episodes begin.
            Otherwise the stack calls it step by step where there are resets.
        bf16_devices: types of the devices on which the cell keeps activations in bfloat16 under
            autocast. On other devices the input is converted to the dtype of the parameters.
        gradient_growth: whether rules can grow links by the gradient of absent links.
    """

    options: ClassVar[dict[str, Option]] = {}
    states: tuple[str, ...] = ("h0",)
    step_inputs: tuple[str, ...] = ()
    packable: bool = False
    resettable: bool = False
    bf16_devices: tuple[str, ...] = ()
    gradient_growth: bool = True

    hidden_size: int

    def run_layer(
        self, layer: str, x: Tensor, state: tuple[Tensor | None, ...], **given: Tensor
    ) -> tuple[Tensor, ...]:
        """Run one layer in one direction over a whole sequence.

        Args:
            layer: suffix of the layer's parameters, such as ``"l0"`` or ``"l1_reverse"``.
            x: ``[steps, batch, inputs]``, in the order in which this direction reads it.
            state: the initial state for each name in ``states``, ``[batch, size_of(name)]``, or
                None for zeros.
            **given: ``step_inputs`` and :meth:`constants`, by name. For sequences of different
                lengths, also the ``batch_sizes`` of a PackedSequence; x and the outputs are then
                ``[rows, ...]``, like the data of a PackedSequence. For several episodes, if
                the cell is ``resettable``, also ``resets``, bool ``[steps, batch]``: the state
                before a step at which an episode begins counts as zero.

        Returns:
            All outputs ``[steps, batch, size_of("h0")]``, and the final state of each name.
        """
        raise NotImplementedError

    def layers(self) -> Iterator[tuple[str, int]]:
        """Yield the suffix and number of inputs of each layer and direction, in torch's order."""
        raise NotImplementedError

    def recurrent_weights(self, layer: str) -> list[SparseWeight]:
        """Return the sparse weights by which the units of a layer read each other.

        :class:`DropConnect` drops their links, and the distances of ``sparse_engine.analysis``
        match their rows and columns as the same units. This is ``weight_hh_<layer>``, unless a cell
        overrides it.
        """
        weight = getattr(self, f"weight_hh_{layer}", None)
        return [weight] if isinstance(weight, SparseWeight) else []

    def input_weight(self, layer: str) -> SparseWeight | None:
        """Return the sparse weight by which a layer reads its input, or None where it is dense.

        This is ``weight_ih_<layer>``, unless a cell overrides it.
        """
        weight = getattr(self, f"weight_ih_{layer}", None)
        return weight if isinstance(weight, SparseWeight) else None

    def constants(self, layer: str, x: Tensor) -> dict[str, Tensor]:
        """Return tensors that all steps of one sequence share, such as a dropout mask, by name.

        The stack calls this once for each layer and direction of a sequence, also where it runs the
        sequence in segments.
        """
        return {}

    def to_next_layer(self, outputs: Tensor) -> Tensor:
        """Return what the next layer reads of a layer's outputs; here the outputs themselves."""
        return outputs

    def size_of(self, state: str) -> int:
        """Return the number of features of a state; the first state has those of the output."""
        return self.hidden_size

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return initial values of one of the network's own parameters, for ``reset_parameters``.

        These are drawn from U(-b, b), ``b = 1 / sqrt(hidden_size)``, unless a cell overrides this.

        Args:
            name: name of the parameter.
            parameter: the parameter, whose shape and dtype the values have.

        Returns:
            The values, on the CPU.
        """
        entries = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
        return _initial_values.uniform_(entries, self.hidden_size, None)

    def check_options(self) -> None:
        """Raise ValueError for options that are valid one by one, but not together."""

    def keeps_bfloat16(self, device: str) -> bool:
        """Whether activations stay in bfloat16 on a type of device, where autocast asks for it."""
        return device in self.bf16_devices

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        return next(self.parameters()).dtype


def input_name(name: str) -> str | None:
    """Return the name of the input weight beside a recurrent weight, None for any other weight.

    This is for state dicts, which have the names of weights but no cells: ``weight_hh_l0`` and
    ``weight_ih_l0``, with the name of the network before them.
    """
    network, dot, own = name.rpartition(".")
    if not own.startswith("weight_hh_"):
        return None
    return network + dot + own.replace("hh", "ih", 1)


def recurrent_weights(model: nn.Module) -> set[SparseWeight]:
    """Return the recurrent weights of all cells in a model."""
    cells = [module for module in model.modules() if isinstance(module, Cell)]
    return {
        weight
        for cell in cells
        for layer, _ in cell.layers()
        for weight in cell.recurrent_weights(layer)
    }
