"""The LSTM with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import Unpack

from sparse_engine import ops
from sparse_engine.nn._checks import check_clip, check_flag, check_integer
from sparse_engine.nn._drop_in import DropIn
from sparse_engine.nn._options import LinkOptions
from sparse_engine.nn._packed import rows_before
from sparse_engine.nn._sparse_recurrent import (
    goes_by_steps,
    last_states,
    note_recurrence,
    notes,
    pair,
)
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Norm
from sparse_engine.ops.lstm import lstm_and_saved, unprojected


class SparseLSTM(DropIn):
    """:class:`torch.nn.LSTM` whose recurrent weights exist only as links.

    With ``i, f, g, o`` the four blocks of ``x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh``:
    ``c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)`` and ``h_t = sigmoid(o) tanh(c_t)``, every time
    step of every layer in one native operation each way. The gates of one matrix are one
    :class:`SparseWeight` of ``4 * hidden_size`` rows. Arguments, shapes and results are those of
    ``torch.nn.LSTM``; what is added is keyword-only. With a projection (Sak et al. 2014) h is
    ``h_t W_hr^T`` in place of itself, and a layer has a sparse ``weight_hr_l0``, too.

    Args:
        density: share of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers and of projections.
        cell_clip: None, or the bound of every c: it is kept in [-cell_clip, cell_clip], and the
            gradient of what was clipped is zero.
        layer_norm: whether ``W_ih x`` and ``W_hh h`` are normalised over their features, each with
            a gain and an offset of its own (Ba et al. 2016), and c where h is made of it. It is in
            the same native operation, which waits for both means and variances in every step; on a
            GPU every step is a few operations of its own. Not with a projection.
        **options: input_density, gain, generator and checkpoint_every, as in
            :class:`SparseRecurrent`.

    Parameters are named as in ``torch.nn.LSTM`` with ``.values`` for the sparse ones.

    Example:
        >>> lstm = SparseLSTM(64, 1024, density=0.05)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    packable = True
    dense_type = nn.LSTM
    settings = (*DropIn.settings, "proj_size")
    gates = 4
    normed_states = ("c",)
    most_fused_inputs = 256
    narrow = ("cpu",)
    states = ("h0", "c0")
    cell_clip: float | None = None

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
        check_flag("layer_norm", layer_norm)
        check_clip(cell_clip)
        super().__init__(*of_torch, device, dtype, density=density, proj_size=proj_size, **options)
        if layer_norm and proj_size:
            raise ValueError(f"expected no proj_size beside layer_norm, found {proj_size}")
        self.cell_clip = cell_clip
        if layer_norm:
            self._add_norms()

    def to_dense(self) -> nn.LSTM:
        """The dense network in torch.nn of the same function.

        Raises:
            ValueError: this network has a cell_clip, which those of torch.nn lack.
        """
        if self.cell_clip is not None:
            raise ValueError(f"expected no cell_clip to convert, found {self.cell_clip}")
        return super().to_dense()

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Runs the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence; or a PackedSequence, whose order
                of sequences the states share.
            hx: ``(h0, c0)``, each ``[num_layers * directions, batch, hidden_size]`` (h0 with
                proj_size features in place of hidden_size, if that is not 0), without the batch for
                a single sequence; zeros by default.
            lengths: how many steps each sequence has, ``[batch]`` integers on the CPU; what follows
                is not read, and the output there is zero. By default all have all steps.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]``
            (or as ``input`` is laid out or packed), and every layer's final ``(h_n, c_n)``, of the
            shapes of ``(h0, c0)``.

        Raises:
            InputError: a shape or dtype does not fit, there is no step, or a length is wrong.
            TypeError: an input that is no tensor, or a state that is no pair of tensors.
        """
        y, h_n, c_n = self._run(input, *pair(hx), lengths=lengths)
        return y, (h_n, c_n)

    def _configure(self, settings: Mapping[str, object]) -> None:
        super()._configure(settings)
        check_integer("proj_size", self.proj_size, least=0)
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"expected proj_size of at least 0 and less than hidden_size = {self.hidden_size}, "
                f"found {self.proj_size}"
            )

    def _size_of(self, state: str) -> int:
        return self.proj_size if state == "h0" and self.proj_size else self.hidden_size

    def _make_recurrent(self, sparse: Callable[[int, int], SparseWeight]) -> dict[str, nn.Module]:
        weights = super()._make_recurrent(sparse)
        if self.proj_size:
            weights["hr"] = sparse(self.proj_size, self.hidden_size)
        return weights

    def _recurrent_weights(self, name: str) -> list[SparseWeight]:
        weights = super()._recurrent_weights(name)
        return [*weights, getattr(self, f"weight_hr_{name}")] if self.proj_size else weights

    def _cell(
        self,
        name: str,
        x: Tensor,
        w_input: Tensor | None,
        initial: tuple[Tensor | None, ...],
        bias: Tensor | None,
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        weight, *projections = self._recurrent_weights(name)
        projection = [(each.values, each.pattern) for each in projections]
        h, c_n, saved = lstm_and_saved(
            x,
            *initial,
            bias,
            weight.values,
            weight.pattern,
            w_input=w_input,
            batch_sizes=batch_sizes,
            projection=projection[0] if projection else None,
            cell_clip=self.cell_clip,
        )
        if notes(weight):
            states = h.detach(), initial[0]
            x.register_hook(partial(note_recurrence, weight, *states, batch_sizes=batch_sizes))
        for each in projections:
            if notes(each):
                from_outside: list[Tensor] = []
                h.register_hook(from_outside.append)
                outputs = unprojected(saved, batch_sizes)
                x.register_hook(
                    partial(_note_projection, each, outputs, weight, from_outside, batch_sizes)
                )
        return h, last_states(h, batch_sizes), c_n

    def _normed_cell(
        self,
        name: str,
        x: Tensor,
        initial: tuple[Tensor | None, ...],
        norm: Norm,
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        weight = getattr(self, f"weight_hh_{name}")
        norms = norm, Norm.of(getattr(self, f"norm_{name}")["c"])
        options = {"batch_sizes": batch_sizes, "cell_clip": self.cell_clip}
        if goes_by_steps(weight, x):
            h, c_n = ops.normed_lstm_by(weight, x, *initial, *norms, **options)
        else:
            links = weight.values, weight.pattern
            h, c_n = ops.normed_lstm(x, *initial, *links, *norms, **options)
        return h, last_states(h, batch_sizes), c_n


@torch.no_grad()
def _note_projection(
    projection: SparseWeight,
    outputs: Tensor,
    weight: SparseWeight,
    from_outside: list[Tensor],
    batch_sizes: Tensor | None,
    dv: Tensor,
) -> None:
    """What a step projects meets the whole gradient of its h, also that from the step after it."""
    dh = torch.zeros_like(dv[..., : projection.shape[0]])
    for each in from_outside:
        dh += each
    later = dv[1:] if batch_sizes is None else dv[int(batch_sizes[0]) :]
    back = ops.spmm_t(weight.values, weight.pattern, later.reshape(-1, dv.shape[-1]).T).T
    if batch_sizes is None:
        dh[:-1] += back.reshape(dh[:-1].shape)
    else:
        dh[rows_before(batch_sizes)] += back
    projection.note(outputs.detach(), dh)
