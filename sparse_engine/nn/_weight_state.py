"""State of a sparse weight: links and their parameters, computed, replaced and loaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparse_engine.ops import Pattern


def computed(module: nn.Module, names: Iterable[str]) -> list[str]:
    """List those ``names`` that a parametrization or a hook of the module computes.

    torch.nn.utils.prune, weight_norm and spectral_norm replace the parameter or buffer by a plain
    attribute, which their forward pre-hook sets at every call.
    """
    held = module._parameters.keys() | module._buffers.keys()
    return [name for name in names if name not in held]


def check_plain(module: nn.Module, names: Iterable[str] = ()) -> None:
    """Raise ValueError for a parametrized module, and for ``names`` that a hook computes."""
    if is_parametrized(module):
        found = [*module.get_submodule("parametrizations")._modules]
        raise ValueError(
            f"expected a module without parametrizations, found one of {found}; "
            "remove_parametrizations makes it writable"
        )
    hooked = computed(module, names)
    if hooked:
        raise ValueError(
            f"expected {', '.join(hooked)} to be a Parameter, found what is computed from "
            f"{', '.join(module._parameters)}; torch.nn.utils.prune.remove, remove_weight_norm or "
            "remove_spectral_norm makes it one. To prune links and to grow others use the rules of "
            "sparse_engine.topology, or SparseWeight.set_pattern"
        )


class Parametrizations(nn.ModuleDict):
    """Dictionary for torch.nn.utils.parametrize in which a module may be called "values".

    A plain ModuleDict refuses that name, because it has a method of that name.
    """

    def __setitem__(self, name: str, module: nn.Module) -> None:
        self._modules[name] = module

    @property
    def values(self) -> Any:
        """The module called "values", which ``functional_call`` looks up, else the method."""
        return self._modules.get("values", super().values)


class LoadsWhole(nn.Module):
    """Module that loads all of its own entries of a state dict, or none of them."""

    #: ``_load(saved, assign)`` copies entries or adopts them; ValueError comes before any change.
    _load: Callable[[Mapping[str, Tensor], bool], None]

    def _entries(self) -> list[str]:
        # Computed entries are saved as the parameters that they come from.
        held = {**self._parameters, **self._buffers}
        hidden = self._non_persistent_buffers_set
        return [name for name, each in held.items() if each is not None and name not in hidden]

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
        names = self._entries()
        absent = [prefix + name for name in names if prefix + name not in state_dict]
        if strict:
            missing_keys += absent
            found = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
            known = {*names}
            unexpected_keys += [
                prefix + name
                for name in found
                if name not in known and name.partition(".")[0] not in self._modules
            ]
        if absent:
            return
        saved = {name: state_dict[prefix + name] for name in names}
        assign = local_metadata.get("assign_to_params_buffers", False)
        kind = prefix.removesuffix(".")
        try:
            for name, each in saved.items():
                if not isinstance(each, Tensor):
                    raise ValueError(f"expected {name} to be a tensor, found {type(each).__name__}")
            lost = any(getattr(self, name).is_meta and not saved[name].is_meta for name in names)
            if lost and not assign:
                warnings.warn(
                    f"loading a state dict into {kind or 'a weight'} on the meta device does "
                    "nothing; load_state_dict(assign=True) takes over its tensors, and to_empty() "
                    "makes room for them",
                    stacklevel=2,
                )
                return
            self._load(saved, assign)
        except ValueError as error:
            error_msgs.append(f"{kind or 'the weight'}: {error}")


class WeightState(LoadsWhole):
    """Module that holds a pattern and link parameters, whatever their number of links."""

    crow_indices: Tensor
    col_indices: Tensor
    _t_crow: Tensor
    _plan: Tensor
    link_parameters: tuple[str, ...] = ("values",)

    #: The entries of a state dict.
    _saved: tuple[str, ...] = ("values", "crow_indices", "col_indices")

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self._replaced: dict[str, Tensor] = {}
        self.register_buffer("crow_indices", pattern.crow)
        self.register_buffer("col_indices", pattern.col)
        for name, each in zip(_TRANSPOSED, pattern[2:], strict=True):
            self.register_buffer(name, each, persistent=False)
        self.topology_version = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_replaced": {}}

    @property
    def pattern(self) -> Pattern:
        """The links and their transposed view, in the form that ``sparse_engine.ops`` takes."""
        # `nn.Module.__getattr__` is slow for a step of a stream; read `_buffers`.
        buffers: dict[str, Any] = self._buffers
        return Pattern(
            buffers["crow_indices"],
            buffers["col_indices"],
            buffers["_t_crow"],
            buffers["_t_col"],
            buffers["_permutation"],
            buffers["_plan"],
        )

    @property
    def shape(self) -> tuple[int, int]:
        """The shape ``(out_features, in_features)``."""
        return self.pattern.shape

    @property
    def nnz(self) -> int:
        """The number of links."""
        return self.col_indices.numel()

    def _replace(self, pattern: Pattern, **entries: Tensor) -> None:
        """Replace the links and the entries of their parameters, in place where they fit."""
        self._check_entries(pattern, entries)
        self._hold_pattern(pattern)
        for name, each in entries.items():
            self._put(name, each)

    def _check_entries(self, pattern: Pattern, entries: Mapping[str, Tensor]) -> None:
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
            self._check_dtype(name, each)

    def _check_dtype(self, name: str, entries: Tensor) -> None:
        # torch would cast integers to the parameter's dtype, and drop imaginary parts.
        if getattr(self, name).is_floating_point() and not entries.is_floating_point():
            raise ValueError(f"expected {name} of a floating-point dtype, found {entries.dtype}")

    def _put(self, name: str, entries: Tensor) -> None:
        own = getattr(self, name)
        if entries.shape != own.shape:
            # A kernel of another thread may read the old values, until the next replacement.
            self._replaced[name] = own.data
            _resize(own, entries.numel())
        # In place, so that a graph that has kept the old values refuses to run backward.
        own.copy_(entries)

    def _hold_pattern(self, pattern: Pattern) -> None:
        """Replace the links, in place where their number stays."""
        if pattern.nnz == self.nnz:
            for old, new in zip(self.pattern, pattern, strict=True):
                old.copy_(new)
            self.topology_version += 1
        else:
            device = self.crow_indices.device
            self._adopt_pattern(Pattern(*(each.to(device) for each in pattern)))

    def _adopt_pattern(self, pattern: Pattern) -> None:
        self.crow_indices, self.col_indices = pattern.crow, pattern.col
        for name, each in zip(_TRANSPOSED, pattern[2:], strict=True):
            setattr(self, name, each)
        self.topology_version += 1

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> WeightState:
        had_links = not self.crow_indices.is_meta
        super()._apply(fn, recurse)
        if not had_links and not self.crow_indices.is_meta:
            # to_empty() leaves arbitrary numbers in the pattern; kernels refuse pointers of zeros.
            for pointers in (self.crow_indices, self._t_crow, self._plan):
                pointers.zero_()
        return self

    def _of_links(self) -> tuple[str, ...]:
        """Return the names of the saved entries that have one number for each link."""
        return self.link_parameters

    @torch.no_grad()
    def _load(self, saved: Mapping[str, Tensor], assign: bool) -> None:
        crow, col = (saved[name] for name in ("crow_indices", "col_indices"))
        if not assign:
            crow, col = crow.cpu().clone(), col.cpu().clone()
        pattern = Pattern.from_csr(crow, col, self.shape)
        entries = self._saved_entries(saved, pattern.nnz)
        if not assign:
            self._hold_pattern(pattern)
            for name, each in entries.items():
                self._put(name, each)
            return
        self._adopt_pattern(pattern)
        for name, each in entries.items():
            own = getattr(self, name)
            if isinstance(own, nn.Parameter):
                each = each if isinstance(each, nn.Parameter) else nn.Parameter(each)
                each.requires_grad_(own.requires_grad)
            setattr(self, name, each)

    def _saved_entries(self, saved: Mapping[str, Tensor], nnz: int) -> dict[str, Tensor]:
        """Return the entries beside the pattern of ``nnz`` links, or raise ValueError."""
        entries = {name: each for name, each in saved.items() if not name.endswith("_indices")}
        of_links = {*self._of_links()}
        if nnz != self.nnz and not entries.keys() >= of_links:
            raise ValueError(
                f"expected {self.nnz} links, as many as the parametrized weight has, found {nnz}"
            )
        for name, each in entries.items():
            shape = [nnz] if name in of_links else [*getattr(self, name).shape]
            if [*each.shape] != shape:
                raise ValueError(
                    f"expected {name} of shape {shape}, found {name} of shape {[*each.shape]}"
                )
            self._check_dtype(name, each)
        return entries


_TRANSPOSED = ("_t_crow", "_t_col", "_permutation", "_plan")


def _resize(parameter: Tensor, count: int) -> None:
    """Resize a parameter to ``count`` uninitialised entries, and drop its gradient."""
    # Autograd's node that accumulates the gradient remembers the old number of entries, and lives
    # as long as any graph, such as the last loss. torch drops the node only for another dtype.
    other = torch.float32 if parameter.dtype == torch.float64 else torch.float64
    dtype, parameter.grad = parameter.dtype, None
    parameter.data = parameter.new_empty(0, dtype=other)
    parameter.data = parameter.new_empty(count, dtype=dtype)
