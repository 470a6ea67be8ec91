"""Layer normalisation inside the time loop (Ba et al. 2016)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from sparse_engine.nn.capture import captures
from sparse_engine.nn.options import FLAG, Option
from sparse_engine.nn.sparse_recurrent import SparseRecurrent, dense_product
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Norm


class LayerNormed(SparseRecurrent):
    """Network with the option ``layer_norm``: ``W_ih x`` and ``W_hh h`` are normalised.

    A cell implements :meth:`run_normed` beside :meth:`run_cell`.

    Attributes:
        normed_states: names of states of ``hidden_size`` features that are normalised, too.
    """

    options: ClassVar[dict[str, Option]] = {
        **SparseRecurrent.options,
        "layer_norm": replace(FLAG, dense=False),
    }
    layer_norm: bool
    normed_states: tuple[str, ...] = ()

    def __init__(self, *arguments: Any, layer_norm: bool, **options: Any) -> None:
        super().__init__(*arguments, layer_norm=layer_norm, **options)
        if not layer_norm:
            return
        values = self.weight_hh_l0.values
        like: dict[str, Any] = {"device": values.device, "dtype": values.dtype}
        sizes = {"ih": self.rows, "hh": self.rows} | dict.fromkeys(
            self.normed_states, self.hidden_size
        )
        for name, _ in self.layers():
            norms = {of: nn.LayerNorm(n, **like) for of, n in sizes.items()}
            setattr(self, f"norm_{name}", nn.ModuleDict(norms))

    def keeps_bfloat16(self, device: str) -> bool:
        """Whether activations stay in bfloat16: never where they are normalised."""
        return not self.layer_norm and super().keeps_bfloat16(device)

    def run_layer(
        self, layer: str, x: Tensor, state: tuple[Tensor | None, ...], **given: Tensor
    ) -> tuple[Tensor, ...]:
        """Run one layer, with layer normalisation where the option is set."""
        if not self.layer_norm:
            return super().run_layer(layer, x, state, **given)
        for weight in self._loop_weights(layer):
            weight.refresh()
        weight_ih, norms = getattr(self, f"weight_ih_{layer}"), getattr(self, f"norm_{layer}")
        if not isinstance(weight_ih, SparseWeight):
            weight_ih = partial(dense_product, weight=weight_ih)
        norm = Norm.of(norms["hh"])
        if self.bias:
            norm = norm.plus(getattr(self, f"bias_ih_{layer}") + getattr(self, f"bias_hh_{layer}"))
        return self.run_normed(layer, Norm.of(norms["ih"])(weight_ih(x)), state, norm, **given)

    def run_normed(
        self,
        layer: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        norm: Norm,
        **given: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run one layer, given the normalised ``W_ih x``.

        Args:
            layer: suffix of the layer's parameters.
            x: the normalised ``W_ih x``.
            state: as in :meth:`run_layer`.
            norm: normalisation of ``W_hh h``, whose offset includes the biases.
            **given: as in :meth:`run_layer`.

        Returns:
            All outputs and the final states, as :meth:`run_layer`.
        """
        raise NotImplementedError


def goes_by_steps(weight: SparseWeight, x: Tensor, resets: Tensor | None) -> bool:
    """Tell whether a normalised layer runs step by step instead of in one operation.

    It does while factors are captured, because the gradient of ``x`` is then not the gradient of
    ``W_hh h``, and where episodes begin on a GPU, whose kernels do not set back states.
    """
    return captures(weight) or (resets is not None and not x.is_cpu)
