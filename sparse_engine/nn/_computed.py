"""Parameters that torch.nn.utils computes from others, by a parametrization or a hook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized


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
