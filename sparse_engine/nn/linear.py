"""Sparse linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn import _initial
from sparse_engine.nn._weight_state import check_plain
from sparse_engine.nn.from_torch import effective, magnitude_mask, takes_gradients
from sparse_engine.nn.options import check_flag, check_integer
from sparse_engine.nn.weight import SparseWeight, runs_alone
from sparse_engine.ops._dispatch.private import has_global_hooks


class LinearOf(nn.Module):
    """Linear layer over a weight that has a ``to_dense()``, with or without a bias."""

    in_features: int
    out_features: int
    weight: Any
    bias: Any

    def forward(self, input: Tensor) -> Tensor:
        """Return ``x W^T + b``, ``[..., out_features]``, for x of ``[..., in_features]``.

        Raises:
            InputError: another number of features, or another dtype.
        """
        return self.weight(input, self.bias)

    def to_dense(self) -> nn.Linear:
        """Return a :class:`torch.nn.Linear` that computes the same."""
        weight = self.weight.to_dense()
        like = {"device": weight.device, "dtype": weight.dtype}
        sizes, bias = (self.in_features, self.out_features), self.bias is not None
        linear = nn.utils.skip_init(nn.Linear, *sizes, bias=bias, **like)
        with torch.no_grad():
            linear.weight.copy_(weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def extra_repr(self) -> str:
        """Return what ``print(layer)`` shows."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class SparseLinear(LinearOf):
    """Linear layer ``y = x W^T + b`` with a sparse W; compare :class:`torch.nn.Linear`.

    Args:
        in_features: size of each input.
        out_features: size of each output.
        bias: whether there is a b, ``[out_features]``.
        device: where the parameters are put.
        dtype: float32 or float64.
        density: fraction of the positions of W that hold a link, in (0, 1].
        gain: scale of the initial values, see :meth:`SparseWeight.erdos_renyi`.
        generator: source of randomness on the CPU.

    Raises:
        ValueError: a size, density or gain out of range.
        TypeError: a size that is no int, or a bias that is no bool.

    Example:
        >>> layer = SparseLinear(768, 3072, density=0.05)
        >>> layer(torch.randn(32, 768)).shape
        torch.Size([32, 3072])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: float,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_integer("in_features", in_features, least=0)
        check_integer("out_features", out_features, least=0)
        check_flag("bias", bias)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = SparseWeight.erdos_renyi(
            out_features,
            in_features,
            density=density,
            gain=gain,
            generator=generator,
            device=device,
            dtype=dtype,
        )
        self.register_parameter("bias", None)
        if bias:
            drawn = _initial.uniform(
                out_features, fan_in=in_features, generator=generator, device=device, dtype=dtype
            )
            self.bias = nn.Parameter(drawn)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``x W^T + b``, ``[..., out_features]``, for x of ``[..., in_features]``.

        Raises:
            InputError: another number of features, or another dtype.
        """
        # A call of the weight as a module takes as long as a small product.
        weight: Any = self._modules["weight"]
        if runs_alone(weight) and not has_global_hooks():
            return ops.linear(weight._parameters["values"], weight.pattern, input, self.bias)
        return super().forward(input)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw values and bias again as the constructor does, in place, for the same links.

        Random numbers come from torch's global generator. An optimizer's state is not touched.

        Raises:
            ValueError: the bias is computed by a parametrization, or the weight cannot be drawn,
                see :meth:`SparseWeight.reset_parameters`.
        """
        check_plain(self, ("bias",))
        self.weight.reset_parameters()
        if self.bias is not None:
            size, dtype = self.out_features, self.bias.dtype
            self.bias.copy_(_initial.uniform(size, fan_in=self.in_features, dtype=dtype))

    @classmethod
    def from_dense(
        cls, linear: nn.Linear, mask: Tensor | None = None, *, density: float | None = None
    ) -> SparseLinear:
        """Make a sparse layer that keeps some weights of a dense layer, with their values.

        Its mode and ``requires_grad`` are those of the dense layer.

        Args:
            linear: the layer to copy.
            mask: bool ``[out_features, in_features]``, true at the entries to keep.
            density: fraction of the entries to keep, the largest by magnitude. Without density or
                mask, the entries that ``torch.nn.utils.prune`` has kept, or those that are not 0.

        Raises:
            ValueError: both density and mask, or one that does not fit.
        """
        if density is not None and mask is not None:
            raise ValueError("expected density or mask, found both")
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.in_features, layer.out_features = linear.in_features, linear.out_features
        values, pruned = effective(linear, "weight")
        if density is not None:
            mask = magnitude_mask(values, density)
        layer.weight = SparseWeight.from_dense(values, pruned if mask is None else mask)
        layer.weight.requires_grad_(takes_gradients(linear, "weight"))
        bias = None if linear.bias is None else nn.Parameter(effective(linear, "bias")[0].clone())
        layer.register_parameter("bias", bias)
        if bias is not None:
            bias.requires_grad_(takes_gradients(linear, "bias"))
        return layer.train(linear.training)
