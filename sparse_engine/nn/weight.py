"""The sparse weight that every layer and every rewiring rule works on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparse_engine import ops
from sparse_engine.nn import _init
from sparse_engine.nn._checks import check_integer, check_number, check_saved
from sparse_engine.nn._computed import Parametrizations, check_plain, computed
from sparse_engine.ops import Pattern
from sparse_engine.ops.pattern import integers


class SparseWeight(nn.Module):
    """An ``out_features x in_features`` matrix of which only the links exist.

    ``W[i, j]`` is the link from unit j to unit i, as in :class:`torch.nn.Linear`. The values are
    an ordinary dense parameter, so optimizers, autograd, clipping and averaging need to know
    nothing about sparsity; the pattern is a set of buffers.

    Attributes:
        values: Parameter ``[nnz]``, in row-major order of the links.
        crow_indices: int64 ``[out_features + 1]``, where each row's links begin.
        col_indices: int32 ``[nnz]``, sorted and unique within each row.
        topology_version: counts the changes of the pattern.
        factors: None, or where to note the factors of the dense gradient: one list for each
            training step, of pairs ``(dy [n, out_features], x [n, in_features])``, one for each
            use of the weight. The gradient of that step is the sum of all ``dy.T @ x``.
            ``sparse_engine.topology`` sets it where a rule grows links by gradient.
        frozen_pattern: False; set it to True where the links are given, as in a connectome: the
            values train as ever, but ``sparse_engine.topology`` rewires only the other weights, and
            :meth:`set_pattern` refuses. Like ``requires_grad`` it is a setting: copies have it, a
            state dict has not, and one that is loaded still brings its links.
        first_gain: the gain that :meth:`erdos_renyi` drew the values with; a setting, too.
        link_parameters: names of the parameters with one entry per link. A rewiring moves all of
            them, with their gradients and optimizer state.

    What ``torch.nn.utils.prune``, ``weight_norm`` or a hook of your own makes of the values is used
    everywhere: where a cell hands them to a kernel, the forward pre-hooks that compute parameters
    are called without inputs, once for each sequence. No rewiring changes such a weight.

    Make one with :meth:`from_csr`, :meth:`from_coo`, :meth:`from_dense` or :meth:`erdos_renyi`.
    """

    values: nn.Parameter
    crow_indices: Tensor
    col_indices: Tensor
    frozen_pattern: bool = False
    first_gain: float = 1.0
    link_parameters: tuple[str, ...] = ("values",)

    #: The entries of a state dict.
    _saved: tuple[str, ...] = ("values", "crow_indices", "col_indices")

    def __init__(self, values: Tensor, pattern: Pattern) -> None:
        super().__init__()
        if not values.is_floating_point() or values.shape != (pattern.nnz,):
            raise ValueError(
                f"expected floating-point values of shape [{pattern.nnz}], found "
                f"{values.dtype} of shape {[*values.shape]}"
            )
        self._hold(values.detach())
        self.register_buffer("crow_indices", pattern.crow)
        self.register_buffer("col_indices", pattern.col)
        self.register_buffer("_t_crow", pattern.t_crow, persistent=False)
        self.register_buffer("_t_col", pattern.t_col, persistent=False)
        self.register_buffer("_permutation", pattern.permutation, persistent=False)
        self.topology_version = 0
        self.factors: list[list[tuple[Tensor, Tensor]]] | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name == "parametrizations" and isinstance(value, nn.ModuleDict):
            value = Parametrizations()
        elif name == "qconfig":  # torch.ao.quantization's mark on each module that it looks at
            warnings.warn(
                "sparse weights stay in floating point: torch.ao.quantization has no kernels for "
                "them; to_dense() makes networks and layers of torch.nn, which it can quantize",
                stacklevel=2,
            )
        super().__setattr__(name, value)

    @classmethod
    def from_csr(
        cls, crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]
    ) -> SparseWeight:
        """From CSR tensors: any integer dtype, columns sorted and unique within rows.

        Raises:
            ValueError: the tensors do not describe such a matrix; names the first wrong entry.
        """
        return cls(values.clone(), Pattern.from_csr(crow.clone(), col.clone(), shape))

    @classmethod
    def from_coo(
        cls, rows: Tensor, cols: Tensor, values: Tensor, shape: tuple[int, int]
    ) -> SparseWeight:
        """From coordinates in any order.

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
            wrong = ((index < 0) | (index >= size)).nonzero()
            if wrong.numel():
                at = int(wrong[0])
                raise ValueError(
                    f"expected {name} in [0, {size}), found {int(index[at])} at position {at}"
                )
        order = torch.argsort(rows * in_features + cols, stable=True)
        counts = torch.bincount(rows, minlength=out_features)
        crow = nn.functional.pad(counts.cumsum(0), (1, 0))
        return cls.from_csr(crow, cols[order], values[order], shape)

    @classmethod
    def from_dense(cls, dense: Tensor, mask: Tensor | None = None) -> SparseWeight:
        """The entries of ``dense`` where ``mask`` is true, or without a mask those that are not 0.

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
        return cls.from_coo(rows, cols, dense.detach()[rows, cols], tuple(dense.shape))

    @classmethod
    def erdos_renyi(
        cls,
        out_features: int,
        in_features: int,
        *,
        density: float | None = None,
        epsilon: float | None = None,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> SparseWeight:
        """A random wiring with an exact number of links, and values that follow its fan-in.

        Args:
            out_features: rows, the target units.
            in_features: columns, the source units.
            density: share of all cells that hold a link, in (0, 1]; give this or
            epsilon: SET's size, ``epsilon * (out_features + in_features)`` links.
            gain: values are U(-b, b) with ``b = gain / sqrt(links into the row)``.
            generator: source of randomness on the CPU; torch's global one by default.
            device: where the weight is put.
            dtype: of the values; torch's default dtype by default.

        Raises:
            ValueError: density outside (0, 1], epsilon not positive, a gain that is not finite, or
                not exactly one of density and epsilon.
            TypeError: a size that is no int.
        """
        check_integer("out_features", out_features, least=0)
        check_integer("in_features", in_features, least=0)
        check_number("a finite gain", gain, math.isfinite)
        if (density is None) == (epsilon is None):
            raise ValueError("expected exactly one of density and epsilon")
        if epsilon is not None:
            nnz = _init.epsilon_nnz(out_features, in_features, epsilon)
        else:
            nnz = _init.density_nnz(out_features, in_features, density)
        seed = _init.draw_seed(generator)
        pattern = _init.erdos_renyi(out_features, in_features, nnz, seed)
        entries = cls.fresh(pattern, gain=gain, generator=generator, dtype=dtype)
        weight = cls(entries.pop("values"), pattern, **entries).to(device)
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
        """The first entries of all link parameters, by name, each ``[nnz]`` and on the CPU.

        Args:
            pattern: the links.
            gain: scale of the values, see :meth:`erdos_renyi`.
            generator: source of randomness on the CPU; torch's global one by default.
            dtype: of the entries; torch's default dtype by default.
        """
        values = torch.empty(pattern.nnz, dtype=dtype)
        _init.fan_in_uniform_(values, pattern, gain=gain, generator=generator)
        return {"values": values} | cls.newborn(pattern.nnz, generator=generator, dtype=dtype)

    @classmethod
    def newborn(
        cls,
        count: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """The first entries of all link parameters but ``values``, each ``[count]``.

        A rewiring gives them to new links, whose values are the birth rule's. See :meth:`fresh`.
        """
        return {}

    @property
    def pattern(self) -> Pattern:
        """The links and their transposed view, as ``sparse_engine.ops`` takes them."""
        return Pattern(
            self.crow_indices, self.col_indices, self._t_crow, self._t_col, self._permutation
        )

    @property
    def shape(self) -> tuple[int, int]:
        """``(out_features, in_features)``."""
        return self.pattern.shape

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the values, or of what a hook computes them from."""
        for parameter in self._parameters.values():
            return parameter.dtype
        return self.values.dtype

    @property
    def nnz(self) -> int:
        """The number of links."""
        return self.col_indices.numel()

    @property
    def density(self) -> float:
        """The share of all cells that hold a link."""
        out_features, in_features = self.shape
        return self.nnz / max(1, out_features * in_features)

    def fan_in(self) -> Tensor:
        """Links into each row's unit, int64 ``[out_features]``."""
        return self.crow_indices.diff()

    def fan_out(self) -> Tensor:
        """Links out of each column's unit, int64 ``[in_features]``."""
        return self._t_crow.diff()

    def rows(self) -> Tensor:
        """The row of each link, int64 ``[nnz]``."""
        return self.pattern.rows()

    def to_dense(self) -> Tensor:
        """The dense matrix; differentiable. For looking and testing: it has every cell."""
        return self.pattern.dense(self.values)

    def to_torch_csr(self) -> Tensor:
        """A ``torch.sparse_csr`` tensor of int64 indices; values share this weight's memory."""
        return torch.sparse_csr_tensor(
            self.crow_indices,
            self.col_indices.long(),
            self.values.detach(),
            self.shape,
            check_invariants=False,
        )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """``torch.nn.functional.linear(x, W, bias)``."""
        y = ops.linear(self.values, self.pattern, x, bias)
        if self.factors is not None and y.requires_grad:
            y.register_hook(partial(self.note, x))
        return y

    def refresh(self) -> None:
        """Calls the forward pre-hooks if they compute parameters, as calling this weight does.

        For cells, before they hand ``values`` to an operation. The hooks get no inputs.
        """
        if not self._forward_pre_hooks:
            return
        if any(not is_parametrized(self, name) for name in computed(self, self._saved)):
            for hook in self._forward_pre_hooks.values():
                hook(self, ())

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the values again as :meth:`erdos_renyi` does, in place, for the same links.

        Random numbers come from torch's global generator. An optimizer's state is not touched.

        Raises:
            ValueError: the pattern is not valid, as after ``to_empty``, or a parametrization or a
                hook computes the values.
        """
        check_plain(self, self.link_parameters)
        pattern = Pattern.from_csr(self.crow_indices.cpu(), self.col_indices.cpu(), self.shape)
        entries = self.fresh(pattern, gain=self.first_gain, dtype=self.dtype)
        for name, each in entries.items():
            getattr(self, name).copy_(each)

    def note(self, x: Tensor, dy: Tensor) -> None:
        """Adds a pair to the latest step of ``factors``: ``[..., in]`` and ``[..., out]``."""
        out_features, in_features = self.shape
        dy, x = (each.detach().to(self.dtype) for each in (dy, x))
        pair = dy.reshape(-1, out_features), x.reshape(-1, in_features)
        if self.factors is not None:
            self.factors[-1].append(pair)

    def check_rewirable(self) -> None:
        """Raises ValueError for a weight whose links cannot be replaced, whatever the new ones.

        Its pattern is frozen, or a parametrization or a hook computes a link parameter.
        """
        if self.frozen_pattern:
            raise ValueError(f"expected a weight whose pattern is not frozen, found {self}")
        check_plain(self, self.link_parameters)

    @torch.no_grad()
    def set_pattern(self, pattern: Pattern, values: Tensor, **entries: Tensor) -> None:
        """Replaces the links and their values; ``values`` stays the same Parameter object.

        Where the number of links stays, everything is written in place, storage included.
        Gradients and optimizer state are not touched: ``sparse_engine.topology`` carries them.

        Args:
            pattern: the new links.
            values: ``[nnz]``.
            **entries: ``[nnz]``, of every other link parameter.

        Raises:
            ValueError: another shape than this weight's, values that do not fit the pattern or
                are not floating-point, or see :meth:`check_rewirable`.
        """
        self.check_rewirable()
        self._replace(pattern, values=values, **entries)

    def _replace(self, pattern: Pattern, **entries: Tensor) -> None:
        """Do what :meth:`set_pattern` does, whether the pattern is frozen or not."""
        if entries.keys() != set(self.link_parameters):
            raise ValueError(
                f"expected entries of {sorted(self.link_parameters)}, found {sorted(entries)}"
            )
        for name, each in entries.items():
            if pattern.shape != self.shape or each.shape != (pattern.nnz,):
                raise ValueError(
                    f"expected a pattern of shape {self.shape} with as many values as links, found "
                    f"{pattern.shape} with {pattern.nnz} links and {name} of shape {[*each.shape]}"
                )
            check_saved(name, each, getattr(self, name))
        self._hold_pattern(pattern)
        for name, each in entries.items():
            parameter = getattr(self, name)
            if each.shape == parameter.shape:
                parameter.copy_(each)
            else:
                parameter.data = each.detach().to(parameter.device, parameter.dtype, copy=True)
                parameter.grad = None

    def _hold(self, values: Tensor) -> None:
        """Makes the first values a part of this module."""
        self.values = nn.Parameter(values)

    def _hold_pattern(self, pattern: Pattern) -> None:
        """Replaces the links, in place where their number stays."""
        if pattern.nnz == self.nnz:
            for old, new in zip(self.pattern, pattern, strict=True):
                old.copy_(new)
        else:
            device = self.crow_indices.device
            self.crow_indices, self.col_indices = pattern.crow.to(device), pattern.col.to(device)
            self._t_crow, self._t_col = pattern.t_crow.to(device), pattern.t_col.to(device)
            self._permutation = pattern.permutation.to(device)
        self.topology_version += 1

    @torch.no_grad()
    def _restore(self, saved: Mapping[str, Tensor]) -> None:
        """Takes over the entries of a state dict, or raises ValueError and changes nothing."""
        pattern = self._saved_pattern(saved)
        own = {name: saved[name] for name in saved if name not in ("crow_indices", "col_indices")}
        if own.keys() >= {*self.link_parameters}:
            links = {name: own.pop(name) for name in self.link_parameters}
            self._check_saved(own)
            self._replace(pattern, **links)
        elif pattern.nnz == self.nnz:
            self._check_saved(own)
            self._hold_pattern(pattern)
        else:
            raise ValueError(
                f"expected {self.nnz} links, as many as the parametrized weight has, found "
                f"{pattern.nnz}"
            )
        for name, each in own.items():
            getattr(self, name).copy_(each)

    def _check_saved(self, saved: Mapping[str, Tensor]) -> None:
        """Raises ValueError for an entry that cannot be copied to that of this name."""
        for name, each in saved.items():
            expected = [*getattr(self, name).shape]
            if [*each.shape] != expected:
                raise ValueError(f"expected {name} of shape {expected}, found {[*each.shape]}")
            check_saved(name, each, getattr(self, name))

    def _state(self) -> list[str]:
        """List the names in a state dict; of what is computed, those that it is computed from."""
        held = {**self._parameters, **self._buffers}.keys() - self._non_persistent_buffers_set
        return [*(name for name in self._saved if name in held), *sorted(held - {*self._saved})]

    def _saved_pattern(self, saved: Mapping[str, Tensor]) -> Pattern:
        crow, col = (saved[name].cpu().clone() for name in ("crow_indices", "col_indices"))
        return Pattern.from_csr(crow, col, self.shape)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        of_torch = local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, *of_torch)
        names = self._state()
        absent = [prefix + name for name in names if prefix + name not in state_dict]
        if strict:
            missing_keys += absent
            unexpected_keys += [
                key
                for key in state_dict
                if key.startswith(prefix)
                and key.removeprefix(prefix) not in names
                and not (is_parametrized(self) and key.startswith(f"{prefix}parametrizations."))
            ]
        if absent:
            return
        try:
            self._restore({name: state_dict[prefix + name] for name in names})
        except ValueError as error:
            error_msgs.append(f"{prefix.removesuffix('.') or 'the weight'}: {error}")

    def extra_repr(self) -> str:
        """What ``print(weight)`` shows."""
        out_features, in_features = self.shape
        size = f"{out_features} x {in_features}, nnz={self.nnz}, density={self.density:.4g}"
        return f"{size}, frozen pattern" if self.frozen_pattern else size
