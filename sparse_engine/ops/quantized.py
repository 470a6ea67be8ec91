"""Links with values of 8 or 16 bits, for inference: products, and recurrent layers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import checked, native, needs_gradient, refuse_onnx
from sparse_engine.ops._sequence import with_reference
from sparse_engine.ops.gated import gru, lstm, rnn
from sparse_engine.ops.pattern import Pattern

#: Rows of a slice, and columns of a group: where both meet, links fill slots.
SLICE_ROWS, GROUP_COLUMNS = 16, 64

#: Recurrent layers that the native operation knows, and the gates of each.
QUANTIZED_CELLS = {"tanh": (0, 1), "relu": (1, 1), "lstm": (2, 4), "gru": (3, 3)}


class QuantizedLinks(NamedTuple):
    """Links of an ``out_features x in_features`` matrix, in slots of 16 rows each.

    The rows are cut into slices of 16, and the columns into groups of 64. The links of a slice in
    a group fill slots, each with the next link of every row. A row without a further link has a
    code of 0. Each of several equal blocks of rows, the gates of a cell, begins with a new slice.

    Attributes:
        codes: int8 or bfloat16 ``[slots, 16]``; a value is its code times the scale of its row.
        places: uint8 ``[slots, 16]``, column of each link within its group.
        ends: int32 ``[slices * groups + 1]``, number of slots before each slice and group.
        scales: float32 ``[out_features]``.
    """

    codes: Tensor
    places: Tensor
    ends: Tensor
    scales: Tensor

    def check(self, in_features: int, gates: int) -> None:
        """Raise ValueError where the tensors are no matrix with so many columns and gates."""
        slots, rows = self.codes.shape[0] if self.codes.dim() else 0, self.scales.numel()
        slices = gates * -(rows // gates // -SLICE_ROWS)
        groups = -(in_features // -GROUP_COLUMNS)
        shapes = {
            "codes": [slots, SLICE_ROWS],
            "places": [slots, SLICE_ROWS],
            "ends": [slices * groups + 1],
            "scales": [rows],
        }
        for name, shape in shapes.items():
            found = [*getattr(self, name).shape]
            if found != shape:
                raise ValueError(f"expected {name} of shape {shape}, found {found}")
            dtype = {"places": torch.uint8, "ends": torch.int32}.get(name, torch.float32)
            if name != "codes" and getattr(self, name).dtype != dtype:
                raise ValueError(f"expected {name} of {dtype}, found {getattr(self, name).dtype}")
        if self.codes.dtype not in (torch.int8, torch.bfloat16):
            raise ValueError(f"expected codes of int8 or bfloat16, found {self.codes.dtype}")
        ends = self.ends
        if int(ends[0]) != 0 or int(ends[-1]) != slots or bool((ends.diff() < 0).any()):
            raise ValueError(f"expected ends that never fall, from 0 to the {slots} slots")
        wrong = (self.places >= GROUP_COLUMNS).nonzero()
        if wrong.numel():
            at, most = tuple(wrong[0].tolist()), GROUP_COLUMNS
            raise ValueError(f"expected places in [0, {most}), found {self.places[at]} at {at}")
        if not bool(((self.scales >= 0) & self.scales.isfinite()).all()):
            raise ValueError("expected finite scales of at least 0, found others")


def quantize(
    values: Tensor, pattern: Pattern, *, gates: int = 1, int8: bool = True
) -> QuantizedLinks:
    """Return links with values of 8 bits and a scale for each row, or in bfloat16.

    An int8 value is rounded to a multiple of ``max |w| / 127`` of its row, and errs by at most half
    of that; bfloat16 errs by at most ``2^-8 |w|``.

    Args:
        values: float32 ``[nnz]`` on the CPU, finite.
        pattern: the links.
        gates: number of equal blocks of rows.
        int8: whether codes are int8; otherwise bfloat16.

    Raises:
        ValueError: values that are not finite, or not float32 on the CPU; or gates that do not
            divide the rows.
    """
    wrong = (~values.isfinite()).nonzero()
    if wrong.numel():
        at = int(wrong[0])
        raise ValueError(f"expected finite values, found {float(values[at])} at position {at}")
    crow, col, in_features = pattern.links
    found = checked(native.quantize_links, crow, col, values.detach(), in_features, gates, int8)
    if not (int8 or found[0].isfinite().all()):
        most = torch.finfo(torch.bfloat16).max
        raise ValueError(f"expected values of at most {most:.3g} for bfloat16, found larger ones")
    return QuantizedLinks(*found)


def dequantize(
    links: QuantizedLinks, in_features: int, *, gates: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``crow``, ``col`` and float32 values of the links whose code is not 0."""
    return checked(native.dequantize_links, [*links], in_features, gates)


def _linear_ref(
    x: Tensor, links: QuantizedLinks, bias: Tensor | None = None, *, gates: int = 1
) -> Tensor:
    values, pattern = _unpacked(links, x.shape[-1], gates)
    return torch.nn.functional.linear(x, pattern.dense(values), bias)


def _unpacked(links: QuantizedLinks, in_features: int, gates: int) -> tuple[Tensor, Pattern]:
    crow, col, values = dequantize(links, in_features, gates=gates)
    return values, Pattern.from_csr(crow, col, (links.scales.numel(), in_features))


@with_reference(_linear_ref)
def linear(
    x: Tensor, links: QuantizedLinks, bias: Tensor | None = None, *, gates: int = 1
) -> Tensor:
    """Return ``torch.nn.functional.linear(x, W, bias)``, ``[..., in]`` to ``[..., out]``.

    For up to 4 rows of ``x`` the links are multiplied as they are stored. For more they are
    unpacked first, once per call, and the kernel of float32 runs. Not differentiable.

    Args:
        x: float32 ``[..., in_features]`` on the CPU.
        links: the links.
        bias: float32 ``[out_features]``, or None.
        gates: number of equal blocks of rows.

    Raises:
        InputError: ``x`` of another dtype, or with a number of features that does not fit.
        RuntimeError: a gradient is wanted.
    """
    check_inference(x)
    if x.dtype != torch.float32:
        raise InputError(f"expected input of dtype float32, found {x.dtype}".replace("torch.", ""))
    if x.dim() == 0:
        raise InputError("expected input of shape [..., in_features], found []")
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = native.quantized_linear(rows, [*links], gates, bias)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def _sequence_ref(
    cell: str, x: Tensor, h0: Any, c0: Any, bias: Any, links: QuantizedLinks, *, in_features: int,
    cell_clip: float | None = None, **options: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    values, pattern = _unpacked(links, in_features, QUANTIZED_CELLS[cell][1])
    if cell == "lstm":
        return lstm.reference(x, h0, c0, bias, values, pattern, cell_clip=cell_clip, **options)
    if cell == "gru":
        h = gru.reference(x, h0, bias, values, pattern, **options)
    else:
        h = rnn.reference(x, h0, bias, values, pattern, nonlinearity=cell, **options)
    return h, x.new_empty(0)


@with_reference(cast(Any, _sequence_ref))
def sequence(
    cell: str,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    links: QuantizedLinks,
    *,
    in_features: int,
    batch_sizes: Tensor | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a recurrent layer over a sequence: the forward pass of ``rnn``, ``lstm`` or ``gru``.

    For up to 4 sequences of one length the links are multiplied as they are stored; otherwise they
    are unpacked first, once per call. Not differentiable.

    Args:
        cell: ``"tanh"`` or ``"relu"`` for an Elman network, ``"lstm"`` or ``"gru"``.
        x: float32 ``[steps, batch, gates * hidden]`` on the CPU, contribution of the input to each
            gate; ``[rows, gates * hidden]`` with ``batch_sizes``.
        h0: ``[batch, hidden]``, or None for zeros.
        c0: ``[batch, hidden]`` of an LSTM, or None for zeros; give both or neither.
        bias: ``[gates * hidden]``, or None.
        links: the links of W, ``gates * hidden x hidden``.
        in_features: number of columns of W, ``hidden``.
        batch_sizes: for sequences of different lengths, as in :mod:`sparse_engine.ops`.
        cell_clip: bound of an LSTM's c, or None.
        resets: where episodes begin.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``, and the last c ``[batch, hidden]`` of an LSTM, or
        an empty tensor.

    Raises:
        ValueError: a shape, dtype or device does not fit, or an unknown cell.
        RuntimeError: a gradient is wanted.
    """
    if cell not in QUANTIZED_CELLS:
        raise ValueError(f"expected cell to be one of {[*QUANTIZED_CELLS]}, found {cell!r}")
    check_inference(x, h0, c0)
    arguments = x, h0, c0, bias, [*links], in_features, batch_sizes, QUANTIZED_CELLS[cell][0]
    return native.quantized_sequence(*arguments, cell_clip, resets)


def check_inference(*tensors: Tensor | None) -> None:
    """Raise RuntimeError where autograd or ONNX would record a quantized operation."""
    refuse_onnx()
    if needs_gradient(tensors):
        raise RuntimeError(
            "expected inputs that require no gradient, found one that does: quantized layers are "
            "for inference"
        )


@fake("quantize_links")
def _(crow, col, values, in_features, gates, int8):
    rows, slots = crow.numel() - 1, torch.library.get_ctx().new_dynamic_size()
    slices, groups = gates * -(rows // gates // -SLICE_ROWS), -(in_features // -GROUP_COLUMNS)
    return (
        values.new_empty(slots, SLICE_ROWS, dtype=torch.int8 if int8 else torch.bfloat16),
        values.new_empty(slots, SLICE_ROWS, dtype=torch.uint8),
        values.new_empty(slices * groups + 1, dtype=torch.int32),
        values.new_empty(rows),
    )


@fake("dequantize_links")
def _(links, **_):
    found, scales = torch.library.get_ctx().new_dynamic_size(), links[3]
    return (
        scales.new_empty(scales.numel() + 1, dtype=torch.int64),
        scales.new_empty(found, dtype=torch.int32),
        scales.new_empty(found),
    )


@fake("quantized_linear")
def _(x, links, **_):
    return x.new_empty(x.shape[0], links[3].numel())


@fake("quantized_sequence")
def _(x, links, in_features, batch_sizes, cell, **_):
    h = x.new_empty(*x.shape[:-1], in_features)
    if cell != QUANTIZED_CELLS["lstm"][0]:
        return h, x.new_empty(0)
    packed = batch_sizes is not None
    batch = torch.library.get_ctx().new_dynamic_size() if packed else x.shape[1]
    return h, x.new_empty(batch, in_features)
