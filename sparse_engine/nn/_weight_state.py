"""Loading the links and values of a sparse weight from a state dict."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparse_engine.nn._checks import absent_keys, check_saved
from sparse_engine.ops import Pattern


class WeightState(nn.Module):
    """Module that loads a pattern and its link parameters, whatever their number of links.

    ``_saved`` names the entries of a state dict.
    """

    shape: tuple[int, int]
    nnz: int
    crow_indices: Tensor
    link_parameters: tuple[str, ...]
    _saved: tuple[str, ...]
    _t_crow: Tensor
    _plan: Tensor
    _replace: Callable[..., None]
    _hold_pattern: Callable[[Pattern], None]
    _set_pattern_buffers: Callable[[Pattern], None]

    def _of_links(self) -> tuple[str, ...]:
        """Return the names of the saved entries that have one number for each link."""
        return self.link_parameters

    @torch.no_grad()
    def _restore(self, saved: Mapping[str, Tensor]) -> None:
        """Copy the entries of a state dict, or raise ValueError and change nothing."""
        pattern = self._saved_pattern(saved)
        entries = self._saved_entries(saved, pattern.nnz)
        if entries.keys() >= {*self.link_parameters}:
            self._replace(pattern, **{name: entries.pop(name) for name in self.link_parameters})
        else:
            self._hold_pattern(pattern)
        for name, each in entries.items():
            getattr(self, name).copy_(each)

    def _state(self) -> list[str]:
        """List the names in a state dict: computed entries are saved as what they come from."""
        held = {**self._parameters, **self._buffers}.keys() - self._non_persistent_buffers_set
        return [*(name for name in self._saved if name in held), *sorted(held - {*self._saved})]

    def _saved_pattern(self, saved: Mapping[str, Tensor]) -> Pattern:
        crow, col = (saved[name].cpu().clone() for name in ("crow_indices", "col_indices"))
        return Pattern.from_csr(crow, col, self.shape)

    def _assign(self, saved: Mapping[str, Tensor]) -> None:
        """Adopt the tensors of a state dict without a copy, or raise ValueError as _restore."""
        crow, col = saved["crow_indices"], saved["col_indices"]
        pattern = Pattern.from_csr(crow, col, self.shape)
        entries = self._saved_entries(saved, pattern.nnz)
        self._set_pattern_buffers(pattern)
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
            own = getattr(self, name)
            shape = [nnz] if name in of_links else [*own.shape]
            if [*each.shape] != shape:
                raise ValueError(
                    f"expected {name} of shape {shape}, found {name} of shape {[*each.shape]}"
                )
            check_saved(name, each, own)
        return entries

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> WeightState:
        had_links = not self.crow_indices.is_meta
        super()._apply(fn, recurse)
        if not had_links and not self.crow_indices.is_meta:
            # to_empty() leaves arbitrary numbers in the pattern; kernels refuse pointers of zeros.
            self.crow_indices.zero_()
            self._t_crow.zero_()
            self._plan.zero_()
        return self

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
        absent, unexpected = absent_keys(
            names,
            state_dict,
            prefix,
            lambda name: is_parametrized(self) and name.startswith("parametrizations."),
        )
        if strict:
            missing_keys += absent
            unexpected_keys += unexpected
        if absent:
            return
        saved = {name: state_dict[prefix + name] for name in names}
        assign = local_metadata.get("assign_to_params_buffers", False)
        lost = any(getattr(self, name).is_meta and not saved[name].is_meta for name in names)
        if lost and not assign:
            warnings.warn(
                f"loading a state dict into {prefix.removesuffix('.') or 'a weight'} on the meta "
                "device does nothing; load_state_dict(assign=True) takes over its tensors, and "
                "to_empty() makes room for them",
                stacklevel=2,
            )
            return
        try:
            (self._assign if assign else self._restore)(saved)
        except ValueError as error:
            error_msgs.append(f"{prefix.removesuffix('.') or 'the weight'}: {error}")
