"""The sparse weight of which every layer is made and which every method rewires."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparse_engine import ops
from sparse_engine.nn import _initial
from sparse_engine.nn._weight_state import Parametrizations, WeightState, check_plain, computed
from sparse_engine.nn.options import check_entries, check_integer, check_number
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.ops._dispatch.private import is_hooked
from sparse_engine.ops.pattern import integers


class SparseWeight(WeightState):
    """Sparse ``out_features x in_features`` matrix, of which only the links exist.

    ``W[i, j]`` is the link from unit j to unit i, as in :class:`torch.nn.Linear`. The values are
    an ordinary dense parameter, so optimizers, autograd, clipping and averaging need to know
    nothing about sparsity; the pattern is a set of buffers.

    Attributes:
        values: Parameter ``[nnz]``, in row-major order of the links.
        crow_indices: int64 ``[out_features + 1]``, where each row's links begin.
        col_indices: int32 ``[nnz]``, sorted and unique within each row.
        topology_version: number of changes of the pattern.
        captured: the factors of the dense gradient, or None where no rule needs them: one list for
            each training step, of pairs ``(dy [n, out_features], x [n, in_features])``, one pair
            for each use of the weight. The dense gradient of that step is the sum of all
            ``dy.T @ x``. ``sparse_engine.topology`` sets it for rules that grow links by gradient.
        frozen_pattern: whether the links are given, as in a connectome; False by default. The
            values of a frozen weight train as ever, but no method rewires it and
            :meth:`set_pattern` refuses. Like ``requires_grad`` this is a setting: a copy has it, a
            state dict does not, and loading a state dict still replaces the links.
        first_gain: the gain with which :meth:`erdos_renyi` drew the values; a setting, too.
        blocks: rows of each gate of a cell, from the first row on; their sum is ``out_features``,
            and ``(out_features,)`` is the default. A recurrent network sets it, and rules that
            distinguish gates read it. A setting, too.
        signed: whether values have signs; otherwise they are at least 0, as conductances are.
        by_steps: whether networks multiply by :meth:`forward` at each step, as for a weight that
            adds more to the product than the links.
        link_parameters: names of the parameters with one entry per link. A rewiring moves all of
            them, with their gradients and optimizer state.

    The values may be computed by ``torch.nn.utils.prune``, ``weight_norm`` or your own forward
    pre-hook. A recurrent network calls such hooks, without inputs, once for each sequence. No
    method rewires a weight whose values are computed.

    Make one with :meth:`from_csr`, :meth:`from_coo`, :meth:`from_dense` or :meth:`erdos_renyi`.

    Example:
        >>> weight = SparseWeight.from_dense(torch.tensor([[0.0, 2.0], [3.0, 0.0]]))
        >>> weight
        SparseWeight(2 x 2, nnz=2, density=0.5)
        >>> weight(torch.tensor([1.0, 10.0])).tolist()
        [20.0, 3.0]
    """

    values: nn.Parameter
    frozen_pattern: bool = False
    first_gain: float = 1.0
    signed: bool = True
    #: Whether each rank of a process group has other rows, see sparse_engine.distributed, and where
    #: they begin.
    sharded: ClassVar[bool] = False
    by_steps: bool = False
    first_row: int = 0

    _blocks: tuple[int, ...] | None = None

    def __init__(self, values: Tensor, pattern: Pattern) -> None:
        super().__init__(pattern)
        if not values.is_floating_point() or values.shape != (pattern.nnz,):
            raise ValueError(
                f"expected floating-point values of shape [{pattern.nnz}], found "
                f"{values.dtype} of shape {[*values.shape]}"
            )
        self._hold(values.detach())
        self.captured: list[list[tuple[Tensor, Tensor]]] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "parametrizations" and isinstance(value, nn.ModuleDict):
            value = Parametrizations()
        super().__setattr__(name, value)

    @classmethod
    def from_csr(
        cls, crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]
    ) -> SparseWeight:
        """Make a weight from CSR tensors of any integer dtype, with columns sorted within rows.

        Raises:
            ValueError: the tensors are no valid CSR matrix; names the first wrong entry.
        """
        return cls(values.clone(), Pattern.from_csr(crow.clone(), col.clone(), shape))

    @classmethod
    def from_coo(
        cls, rows: Tensor, cols: Tensor, values: Tensor, shape: tuple[int, int]
    ) -> SparseWeight:
        """Make a weight from coordinates in any order.

        Raises:
            ValueError: coordinates outside ``shape``, or a link that is given twice.
        """
        out_features, in_features = shape
        if not rows.shape == cols.shape == values.shape or rows.dim() != 1:
            raise ValueError(
                "expected rows, cols and values of one length, found shapes "
                f"{[*rows.shape]}, {[*cols.shape]} and {[*values.shape]}"
            )
        rows, cols = integers(rows, "rows"), integers(cols, "cols")
        for name, index, size in (("rows", rows, out_features), ("cols", cols, in_features)):
            check_entries(f"{name} in [0, {size})", index, (index >= 0) & (index < size))
        order = torch.argsort(rows * in_features + cols, stable=True)
        counts = torch.bincount(rows, minlength=out_features)
        crow = nn.functional.pad(counts.cumsum(0), (1, 0))
        return cls.from_csr(crow, cols[order], values[order], shape)

    @classmethod
    def from_dense(cls, dense: Tensor, mask: Tensor | None = None) -> SparseWeight:
        """Make a weight of the entries of a dense matrix that a mask keeps, or that are not 0.

        Args:
            dense: ``[out_features, in_features]``.
            mask: bool, true where a link exists; by default ``dense != 0``.

        Raises:
            ValueError: not a matrix, or a mask of another shape.
        """
        if dense.dim() != 2:
            raise ValueError(f"expected a matrix, found shape {[*dense.shape]}")
        if mask is None:
            mask = dense != 0
        if mask.shape != dense.shape:
            raise ValueError(f"expected a mask of shape {[*dense.shape]}, found {[*mask.shape]}")
        rows, cols = mask.nonzero(as_tuple=True)
        out_features, in_features = dense.shape
        return cls.from_coo(rows, cols, dense.detach()[rows, cols], (out_features, in_features))

    @classmethod
    def erdos_renyi(
        cls,
        out_features: int,
        in_features: int,
        *,
        density: float,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> SparseWeight:
        """Make a random weight with an exact number of links and values scaled by their fan-in.

        Args:
            out_features: rows, the target units.
            in_features: columns, the source units.
            density: fraction of all positions that hold a link, in (0, 1].
            gain: values are U(-b, b) with ``b = gain / sqrt(links into the row)``.
            generator: source of randomness on the CPU; torch's global one by default.
            device: where the weight is put.
            dtype: dtype of the values; torch's default dtype by default.

        Raises:
            ValueError: density outside (0, 1], or a gain that is not finite.
            TypeError: a size that is no int.
        """
        check_integer("out_features", out_features, least=0)
        check_integer("in_features", in_features, least=0)
        check_number("a finite gain", gain, math.isfinite)
        nnz = _initial.density_nnz(out_features, in_features, density)
        key = RandomKey(_initial.draw_seed(generator))
        pattern = Pattern.of(_initial.random_links(out_features, in_features, nnz, key, device))
        entries = cls.fresh(pattern, gain=gain, generator=generator, dtype=dtype)
        entries = {name: _initial.moved(each, device) for name, each in entries.items()}
        pattern = Pattern(*(_initial.moved(each, device) for each in pattern))
        weight = cls(entries.pop("values"), pattern, **entries)
        weight.first_gain = gain
        return weight

    @classmethod
    def fresh(
        cls,
        pattern: Pattern,
        *,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """Return initial entries of all link parameters by name, as :meth:`erdos_renyi` draws them.

        Each is ``[nnz]`` and on the CPU, or on the meta device where the pattern is on it.
        """
        device = pattern.crow.device
        values = _initial.blank(pattern.nnz, dtype=dtype, device=device)
        cls._draw_values_(values, pattern, gain=gain, generator=generator)
        others = cls.new_link_entries(pattern.nnz, generator=generator, dtype=dtype, device=device)
        return {"values": values} | others

    _draw_values_ = staticmethod(_initial.fan_in_uniform_)

    @classmethod
    def new_link_entries(
        cls,
        count: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> dict[str, Tensor]:
        """Return entries of the link parameters but ``values`` for ``count`` new links.

        They are on the CPU, or on the meta device where ``device`` is that. This class has none.
        """
        return {}

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each gate of a cell; ``(out_features,)`` for a weight without gates."""
        return (self.shape[0],) if self._blocks is None else self._blocks

    @blocks.setter
    def blocks(self, blocks: Iterable[int]) -> None:
        blocks = tuple(blocks)
        if any(rows < 0 for rows in blocks) or sum(blocks) != self.shape[0]:
            raise ValueError(
                f"expected blocks that make the {self.shape[0]} rows of the weight, found {blocks}"
            )
        self._blocks = blocks

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the values, or of what a hook computes them from."""
        for parameter in self._parameters.values():
            if parameter is not None:
                return parameter.dtype
        return self.values.dtype

    @property
    def density(self) -> float:
        """The fraction of all positions that hold a link."""
        out_features, in_features = self.shape
        return self.nnz / max(1, out_features * in_features)

    def fan_in(self) -> Tensor:
        """Count the links into each row, int64 ``[out_features]``."""
        return self.crow_indices.diff()

    def fan_out(self) -> Tensor:
        """Count the links out of each column, int64 ``[in_features]``."""
        return self._t_crow.diff()

    def rows(self) -> Tensor:
        """Return the row of each link, int64 ``[nnz]``."""
        return self.pattern.rows()

    def to_dense(self) -> Tensor:
        """Return the dense matrix, differentiable; for tests and small weights only."""
        return self.pattern.dense(self.values)

    def to_torch_csr(self) -> Tensor:
        """Return a ``torch.sparse_csr`` tensor whose values share this weight's memory."""
        return torch.sparse_csr_tensor(
            self.crow_indices,
            self.col_indices.long(),
            self.values.detach(),
            self.shape,
            check_invariants=False,
        )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return ``torch.nn.functional.linear(x, W, bias)``: ``x @ W.T + bias``."""
        if self.captured is not None and torch.is_grad_enabled():
            return self._captured_product(x, bias)
        return ops.linear(self.values, self.pattern, x, bias)

    @torch.compiler.disable  # a compiled graph has no gradients of its parts for hooks
    def _captured_product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y = ops.linear(self.values, self.pattern, x, bias)
        if y.requires_grad:
            y.register_hook(partial(self.capture, x))
        return y

    def refresh(self) -> None:
        """Call the forward pre-hooks that compute parameters, without inputs.

        A cell that passes ``values`` to an operation itself calls this first; calling the weight
        as a module does so anyway.
        """
        if not self._forward_pre_hooks:
            return
        if any(not is_parametrized(self, name) for name in computed(self, self._saved)):
            for hook in self._forward_pre_hooks.values():
                hook(self, ())

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the values again as :meth:`erdos_renyi` does, in place, for the same links.

        Random numbers come from torch's global generator. An optimizer's state is not touched.

        Raises:
            ValueError: the pattern is not valid, as after ``to_empty``, or the values are computed
                by a parametrization or a hook.
        """
        check_plain(self, self.link_parameters)
        pattern = Pattern.from_csr(self.crow_indices.cpu(), self.col_indices.cpu(), self.shape)
        entries = self.fresh(pattern, gain=self.first_gain, dtype=self.dtype)
        for name, each in entries.items():
            getattr(self, name).copy_(each)

    def capture(self, x: Tensor, dy: Tensor) -> None:
        """Add the factors of one use of the weight to the latest step in ``captured``.

        The weight multiplied ``x [..., in_features]``; ``dy`` is the gradient of the product.
        """
        out_features, in_features = self.shape
        dy, x = (each.detach().to(self.dtype) for each in (dy, x))
        pair = dy.reshape(-1, out_features), x.reshape(-1, in_features)
        if self.captured is not None:
            self.captured[-1].append(pair)

    def check_rewirable(self) -> None:
        """Raise ValueError for a weight whose links cannot be replaced.

        These are weights with a frozen pattern, with link parameters that a parametrization or a
        hook computes, and with link parameters distributed over processes.
        """
        if self.frozen_pattern:
            raise ValueError(f"expected a weight whose pattern is not frozen, found {self}")
        check_plain(self, self.link_parameters)
        for name in self.link_parameters:
            # Only a DTensor has this attribute; importing its module would take a second.
            if hasattr(getattr(self, name), "placements"):
                raise ValueError(
                    f"expected all {name} of {self} in each process to replace its links, found "
                    "them distributed, as by fully_shard; choose the links before fully_shard, or "
                    "by a method of sparse_engine.topology, which gathers them"
                )

    @torch.no_grad()
    def set_pattern(self, pattern: Pattern, values: Tensor, **entries: Tensor) -> None:
        """Replace the links and their values; ``values`` stays the same Parameter object.

        Where the number of links stays, the storage stays, too. Gradients and optimizer state are
        not touched; :func:`sparse_engine.topology.rewiring.apply_rewiring` carries them along.

        Args:
            pattern: the new links.
            values: ``[nnz]``.
            **entries: every other link parameter by name, ``[nnz]`` each.

        Raises:
            ValueError: another shape than this weight's, values that do not fit the pattern or
                are not floating-point, or a weight that :meth:`check_rewirable` refuses.
        """
        self.check_rewirable()
        self._replace(pattern, values=values, **entries)

    def check_pattern(self, pattern: Pattern, **entries: Tensor) -> None:
        """Raise what :meth:`set_pattern` would; change nothing."""
        self.check_rewirable()
        self._check_entries(pattern, entries)

    def _hold(self, values: Tensor) -> None:
        """Register the initial values in this module."""
        self.values = nn.Parameter(values)

    def extra_repr(self) -> str:
        """Return what ``print(weight)`` shows."""
        out_features, in_features = self.shape
        size = f"{out_features} x {in_features}, nnz={self.nnz}, density={self.density:.4g}"
        return f"{size}, frozen pattern" if self.frozen_pattern else size


def runs_alone(weight: object) -> bool:
    """Tell whether calling a module is a product with a :class:`SparseWeight`, and nothing else."""
    return (
        type(weight) is SparseWeight
        and weight.captured is None
        and "forward" not in weight.__dict__
        and not is_hooked(weight)
    )
