"""The Elman network with sparse recurrent weights."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from sparse_engine import ops
from sparse_engine.nn._keywords import LinkOptions
from sparse_engine.nn._step import StepOperation
from sparse_engine.nn.from_torch import DropIn
from sparse_engine.nn.layer_norm import LayerNormed, goes_by_steps
from sparse_engine.nn.options import Option
from sparse_engine.nn.sparse_recurrent import Ran, last_states
from sparse_engine.ops import Norm
from sparse_engine.ops._native import native


def _check_nonlinearity(name: str, value: object) -> None:
    if value not in [*ops.ACTIVATIONS]:
        raise ValueError(f"expected {name} 'tanh' or 'relu', found {value!r}")


def _step_options(network: SparseRNN) -> tuple | None:
    return None if network.layer_norm else (ops.ACTIVATIONS[network.nonlinearity],)


class SparseRNN(LayerNormed, DropIn):
    """:class:`torch.nn.RNN` whose recurrent weights exist only as links.

    ``h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)``. The forward pass of a layer over all
    time steps is one native operation, and so is its backward pass. Arguments, shapes and results
    are those of ``torch.nn.RNN``; further arguments are keyword-only.

    Args:
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        layer_norm: whether ``W_ih x`` and ``W_hh h`` are normalised over their features, each with
            its own gain and offset (Ba et al. 2016). On the CPU this is part of the native
            operation, which has to wait for mean and variance at every step; on a GPU every step
            takes several operations of PyTorch.
        **options: input_density, gain, generator and checkpoint_every of
            :class:`SparseRecurrent`.

    Parameters are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones:
    ``weight_ih_l0``, ``weight_hh_l0.values``, ``bias_ih_l0``, ``bias_hh_l0``,
    ``weight_hh_l0_reverse.values``, ...

    Example:
        >>> rnn = SparseRNN(64, 1024, density=0.05)
        >>> y, h_n = rnn(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    nonlinearity: str
    packable = True
    resettable = True
    dense_type = nn.RNN
    options: ClassVar[dict[str, Option]] = {
        **LayerNormed.options,
        "nonlinearity": Option(_check_nonlinearity, in_torch=True),
    }
    most_fused_inputs = 128
    bf16_devices = ("cpu", "cuda")
    step_operation = StepOperation(native.rnn_step.default, _step_options)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: float,
        layer_norm: bool = False,
        **options: Unpack[LinkOptions],
    ) -> None:
        of_torch = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(
            *of_torch,
            device,
            dtype,
            density=density,
            nonlinearity=nonlinearity,
            layer_norm=layer_norm,
            **options,
        )

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        batch_sizes: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> Ran:
        """Run one layer in one operation."""
        weight = getattr(self, f"weight_hh_{layer}")
        h = ops.rnn(
            x,
            state[0],
            bias,
            weight.values,
            weight.pattern,
            w_input=w_input,
            nonlinearity=self.nonlinearity,
            batch_sizes=batch_sizes,
            resets=resets,
        )
        return Ran(h, (last_states(h, batch_sizes),))

    def run_normed(
        self,
        layer: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        norm: Norm,
        batch_sizes: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run one layer, given the normalised ``W_ih x``."""
        weight, (h0,) = getattr(self, f"weight_hh_{layer}"), state
        options: dict[str, Any] = {
            "batch_sizes": batch_sizes,
            "resets": resets,
            "nonlinearity": self.nonlinearity,
        }
        if goes_by_steps(weight, x, resets):
            h = ops.normed_rnn_by(weight, x, h0, norm, **options)
        else:
            h = ops.normed_rnn(x, h0, weight.values, weight.pattern, norm, **options)
        return h, last_states(h, batch_sizes)
