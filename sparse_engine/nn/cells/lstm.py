"""The LSTM with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import Unpack

from sparse_engine import ops
from sparse_engine.nn._checks import check_integer
from sparse_engine.nn._keywords import LinkOptions
from sparse_engine.nn._packed import rows_before
from sparse_engine.nn._step import StepOperation
from sparse_engine.nn.capture import Use, capture, captures
from sparse_engine.nn.from_torch import DropIn
from sparse_engine.nn.layer_norm import LayerNormed, goes_by_steps
from sparse_engine.nn.options import CLIP, Option
from sparse_engine.nn.sparse_recurrent import Ran, last_states
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Norm
from sparse_engine.ops._native import native
from sparse_engine.ops._sequence import finite
from sparse_engine.ops.lstm import lstm_and_saved, unprojected


def _step_options(network: SparseLSTM) -> tuple | None:
    return None if network.layer_norm or network.proj_size else (finite(network.cell_clip),)


class SparseLSTM(LayerNormed, DropIn):
    """:class:`torch.nn.LSTM` whose recurrent weights exist only as links.

    With ``i, f, g, o`` the four blocks of ``x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh``:
    ``c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)`` and ``h_t = sigmoid(o) tanh(c_t)``. The
    forward pass of a layer over all time steps is one native operation, and so is its backward
    pass. The four gates are blocks of rows of one :class:`SparseWeight` of ``4 * hidden_size``
    rows. Arguments, shapes and results are those of ``torch.nn.LSTM``; further arguments are
    keyword-only. With a projection (Sak et al. 2014) the output is ``h_t W_hr^T``, and each layer
    has a sparse ``weight_hr_l0``, too.

    Args:
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers and of projections.
        cell_clip: the bound to which every c is clipped, [-cell_clip, cell_clip]; clipped entries
            pass no gradient. None for no bound.
        layer_norm: whether ``W_ih x``, ``W_hh h`` and, for the output, c are normalised over their
            features, each with its own gain and offset (Ba et al. 2016). On the CPU this is part of
            the native operation, which has to wait for means and variances twice at every step; on
            a GPU every step takes several operations of PyTorch. Not with a projection.
        **options: input_density, gain, generator and checkpoint_every of
            :class:`SparseRecurrent`.

    Parameters are named as in ``torch.nn.LSTM`` with ``.values`` for the sparse ones.

    Example:
        >>> lstm = SparseLSTM(64, 1024, density=0.05)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    proj_size: int
    cell_clip: float | None
    packable = True
    resettable = True
    dense_type = nn.LSTM
    options: ClassVar[dict[str, Option]] = {
        **LayerNormed.options,
        "proj_size": Option(partial(check_integer, least=0), in_torch=True),
        "cell_clip": CLIP,
    }
    gates = 4
    normed_states = ("c",)
    most_fused_inputs = 256
    bf16_devices = ("cpu",)
    states = ("h0", "c0")
    step_operation = StepOperation(native.lstm_step.default, _step_options)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: float,
        cell_clip: float | None = None,
        layer_norm: bool = False,
        **options: Unpack[LinkOptions],
    ) -> None:
        of_torch = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(
            *of_torch,
            device,
            dtype,
            density=density,
            proj_size=proj_size,
            cell_clip=cell_clip,
            layer_norm=layer_norm,
            **options,
        )

    # Each class has a forward of its own: torch.compile counts recompilations by function.
    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Run the network over whole sequences: :meth:`DropIn.forward` with ``hx = (h0, c0)``."""
        return super().forward(input, hx, lengths=lengths, resets=resets)

    def check_options(self) -> None:
        """Raise ValueError for a projection that is not smaller than the state, or normalised."""
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"expected proj_size of at least 0 and less than hidden_size = {self.hidden_size}, "
                f"found {self.proj_size}"
            )
        if self.layer_norm and self.proj_size:
            raise ValueError(f"expected no proj_size beside layer_norm, found {self.proj_size}")

    def size_of(self, state: str) -> int:
        """Return the number of features of a state."""
        return self.proj_size if state == "h0" and self.proj_size else self.hidden_size

    def _make_recurrent(self, sparse: Callable[[int, int], SparseWeight]) -> dict[str, nn.Module]:
        weights = super()._make_recurrent(sparse)
        if self.proj_size:
            weights["hr"] = sparse(self.proj_size, self.hidden_size)
        return weights

    def _loop_weights(self, name: str) -> list[SparseWeight]:
        weights = super()._loop_weights(name)
        return [*weights, getattr(self, f"weight_hr_{name}")] if self.proj_size else weights

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
        weight, *projections = self._loop_weights(layer)
        projection = [(each.values, each.pattern) for each in projections]
        h0, c0 = state
        h, c_n, saved = lstm_and_saved(
            x,
            h0,
            c0,
            bias,
            weight.values,
            weight.pattern,
            w_input=w_input,
            batch_sizes=batch_sizes,
            projection=projection[0] if projection else None,
            cell_clip=self.cell_clip,
            resets=resets,
        )
        return Ran(h, (last_states(h, batch_sizes), c_n), saved)

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
        super()._capture(layer, x, h, h0, saved, batch_sizes, resets)
        weight, *projections = self._loop_weights(layer)
        for each in filter(captures, projections):
            from_outside: list[Tensor] = []
            h.register_hook(from_outside.append)
            outputs = unprojected(cast(Tensor, saved), batch_sizes).detach()
            parts = batch_sizes, resets
            capture(x, partial(_projected, each, outputs, weight, from_outside, *parts))

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
        weight, (h0, c0) = getattr(self, f"weight_hh_{layer}"), state
        norm_c = Norm.of(getattr(self, f"norm_{layer}")["c"])
        options: dict[str, Any] = {
            "batch_sizes": batch_sizes,
            "resets": resets,
            "cell_clip": self.cell_clip,
        }
        if goes_by_steps(weight, x, resets):
            h, c_n = ops.normed_lstm_by(weight, x, h0, c0, norm, norm_c, **options)
        else:
            h, c_n = ops.normed_lstm(
                x, h0, c0, weight.values, weight.pattern, norm, norm_c, **options
            )
        return h, last_states(h, batch_sizes), c_n


def _projected(
    projection: SparseWeight,
    outputs: Tensor,
    weight: SparseWeight,
    from_outside: list[Tensor],
    batch_sizes: Tensor | None,
    resets: Tensor | None,
    dv: Tensor,
) -> Iterator[Use]:
    """Yield the use of a projection: its input with the whole gradient of its result h.

    That gradient is the sum of the gradients from outside the layer and from the next step, from
    which none comes where an episode begins.
    """
    with torch.no_grad():
        dh = torch.zeros_like(dv[..., : projection.shape[0]])
        for each in from_outside:
            dh += each
        later = dv[1:] if batch_sizes is None else dv[int(batch_sizes[0]) :]
        back = ops.spmm_t(weight.values, weight.pattern, later.reshape(-1, dv.shape[-1]).T).T
        if batch_sizes is None:
            back = back.reshape(dh[:-1].shape)
            dh[:-1] += back if resets is None else back.masked_fill(resets[1:].unsqueeze(-1), 0)
        else:
            dh[rows_before(batch_sizes)] += back
    yield projection, outputs, dh
