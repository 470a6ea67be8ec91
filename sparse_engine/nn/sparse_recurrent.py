"""Recurrent networks with an input weight and a recurrent weight in each layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparse_engine.nn import _initial_links, _initial_values
from sparse_engine.nn._packed import last_rows
from sparse_engine.nn.capture import capture, captures, recurrence
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.weight import SparseWeight


class Ran(NamedTuple):
    """Result of :meth:`SparseRecurrent.run_cell`.

    Attributes:
        outputs: all outputs, ``[steps, batch, hidden]``; ``[rows, hidden]`` for packed sequences.
        final: the final states, one for each name in ``states``.
        saved: the tensor that the operation keeps for its backward pass, if the capture of factors
            reads it.
    """

    outputs: Tensor
    final: tuple[Tensor, ...]
    saved: Tensor | None = None


class SparseRecurrent(Recurrent):
    """Recurrent network with torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0.

    A cell implements :meth:`run_cell`. The weights between layers are sparse, too.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        input_density: the same fraction for the input weights of layer 0; at 1.0 they are an
            ordinary dense parameter.
        gain: scale of the initial sparse values, see :meth:`SparseWeight.erdos_renyi`.
        generator: source of randomness on the CPU.
        device: where the parameters are put.
        dtype: float32 or float64.
        **settings: arguments of :class:`Recurrent`, and the ``options`` that a subclass adds.

    Raises:
        ValueError: an argument out of range.
        TypeError: an option that the network does not have, or a value of another type.

    Attributes:
        gates: number of blocks of ``hidden_size`` rows in each weight.
        most_fused_inputs: greatest number of columns of a dense input weight that is multiplied
            inside the time loop, which does not store the product. A wider input weight is
            multiplied before the loop, for all steps at once.
    """

    weight_hh_l0: Any
    gates: int = 1
    most_fused_inputs: int = 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        input_density: float = 1.0,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **settings)
        _initial_links.check_density(density)
        _initial_links.check_density(input_density, "input_density")

        def sparse(out_features: int, in_features: int, share: float = density) -> SparseWeight:
            return SparseWeight.erdos_renyi(
                out_features,
                in_features,
                density=share,
                gain=gain,
                generator=generator,
                device=device,
                dtype=dtype,
            )

        def dense(*shape: int) -> nn.Parameter:
            values = _initial_values.blank(*shape, dtype=dtype, device=device)
            _initial_values.uniform_(values, hidden_size, generator)
            return nn.Parameter(_initial_values.moved(values, device))

        for name, inputs in self.layers():
            first = name.startswith("l0")
            share = input_density if first else density
            make_input = dense if first and share == 1 else partial(sparse, share=share)
            setattr(self, f"weight_ih_{name}", make_input(self.rows, inputs))
            for kind, weight in self._make_recurrent(sparse).items():
                setattr(self, f"weight_{kind}_{name}", weight)
            for kind, shape in self._bias_shapes.items() if self.bias else ():
                setattr(self, f"bias_{kind}_{name}", dense(*shape))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for weight in value if isinstance(value, nn.ModuleList) else [value]:
            if isinstance(weight, SparseWeight) and weight.shape[0] == self.rows:
                weight.blocks = self.blocks

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each gate in each weight, see :class:`SparseWeight`."""
        return (self.hidden_size,) * self.gates

    @property
    def rows(self) -> int:
        """Number of rows of each weight."""
        return sum(self.blocks)

    @property
    def _bias_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the biases of a layer, by kind."""
        return {"ih": (self.rows,), "hh": (self.rows,)}

    def _make_recurrent(self, sparse: Callable[[int, int], SparseWeight]) -> dict[str, nn.Module]:
        """Make the weights of a layer that the time loop multiplies, by kind.

        Args:
            sparse: ``sparse(out_features, in_features)`` makes a sparse weight.
        """
        return {"hh": sparse(self.rows, self.size_of("h0"))}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        return self.weight_hh_l0.dtype

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        **given: Tensor,
    ) -> Ran:
        """Run one layer in one direction, like :meth:`run_layer`, which calls this.

        Args:
            layer: suffix of the layer's parameters.
            x: the input where ``w_input`` is given, and ``W_ih x`` where it is None.
            w_input: the layer's dense input weight, or None.
            state: the initial states, each None for zeros.
            bias: the bias of ``W_hh h``, or None.
            **given: as in :meth:`run_layer`.
        """
        raise NotImplementedError

    def gradient_of_product(
        self, saved: Tensor | None, batch_sizes: Tensor | None
    ) -> Callable[[Tensor], Tensor] | None:
        """Return the function from the gradient of ``W_ih x`` to that of ``W_hh h``.

        The capture of factors needs it. None stands for the identity.

        Args:
            saved: the ``saved`` tensor of :class:`Ran`.
            batch_sizes: batch sizes of a packed sequence, or None.
        """
        return None

    def _loop_weights(self, name: str) -> list[SparseWeight]:
        """Return the weights that the time loop of a layer multiplies."""
        return self.recurrent_weights(name)

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """Return the biases of ``W_ih x`` and of ``W_hh h``."""
        if not self.bias:
            return None, None
        return None, getattr(self, f"bias_ih_{name}") + getattr(self, f"bias_hh_{name}")

    def run_layer(
        self, layer: str, x: Tensor, state: tuple[Tensor | None, ...], **given: Tensor
    ) -> tuple[Tensor, ...]:
        """Multiply by the input weight, unless the time loop does that, and run the cell."""
        weights = self._loop_weights(layer)
        for weight in weights:
            weight.refresh()
        weight_ih = getattr(self, f"weight_ih_{layer}")
        capturing = [weight for weight in weights if weight.captured is not None]
        input_bias, bias = self._biases(layer)
        w_input = None
        if isinstance(weight_ih, SparseWeight):
            x = weight_ih(x, input_bias)
        elif (
            weight_ih.shape[1] > self.most_fused_inputs
            or capturing
            or ("batch_sizes" not in given and x.shape[1] == 1)
        ):
            x = dense_product(x, weight_ih, input_bias)
        else:
            w_input = weight_ih
        captures_now = bool(capturing) and torch.is_grad_enabled()
        if captures_now and not x.requires_grad:
            x = x.detach().requires_grad_()
        outputs, final, saved = self.run_cell(layer, x, w_input, state, bias, **given)
        if captures_now:
            parts = given.get("batch_sizes"), given.get("resets")
            self._capture(layer, x, outputs, state[0], saved, *parts)
        return outputs, *final

    def _capture(
        self,
        layer: str,
        x: Tensor,
        h: Tensor,
        h0: Tensor | None,
        saved: Tensor | None,
        batch_sizes: Tensor | None,
        resets: Tensor | None,
    ) -> None:
        """Capture the factors of the layer's weights in the backward pass."""
        weight = getattr(self, f"weight_hh_{layer}")
        if captures(weight):
            to_product = self.gradient_of_product(saved, batch_sizes)
            parts = batch_sizes, to_product, resets
            capture(x, partial(recurrence, weight, h.detach(), h0, *parts))


def dense_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return :func:`torch.nn.functional.linear`, but refuse a mixture of meta and other tensors.

    torch would return uninitialised memory for such a mixture.

    Raises:
        ValueError: ``x`` or the weight is on the meta device, and the other is not.
    """
    if x.is_meta != weight.is_meta:
        raise ValueError(
            f"expected input and weight on one device, found {x.device} and {weight.device}"
        )
    return nn.functional.linear(x, weight, bias)


def last_states(h: Tensor, batch_sizes: Tensor | None) -> Tensor:
    """Return the last state of each sequence, ``[batch, hidden]``."""
    return h[-1] if batch_sizes is None else h.index_select(0, last_rows(batch_sizes))
