"""Layer normalisation inside the time loop (Ba et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from sparse_engine.nn.cell import Layer, Maker, multiply
from sparse_engine.nn.kernel_cell import KernelCell, State, captures
from sparse_engine.nn.options import check_flag, option
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops import Norm
from sparse_engine.ops._sequence import States


@dataclass(frozen=True, kw_only=True)
class LayerNormed(KernelCell):
    """Cell with the option ``layer_norm``: ``W_ih x`` and ``W_hh h`` are normalised.

    Attributes:
        normed_states: names of states of ``hidden_size`` features that are normalised, too.
        normed_operation: the operation with layer normalisation.
    """

    layer_norm: bool = option(check_flag, False)

    separate_biases: ClassVar[bool] = False
    normed_states: ClassVar[tuple[str, ...]] = ()
    normed_operation: ClassVar[Any]

    def make(self, maker: Maker, inputs: int, first: bool) -> dict[str, Any]:
        """Return what a layer has, with its normalisations."""
        made = super().make(maker, inputs, first)
        if self.layer_norm:
            rows = sum(self.blocks(maker.hidden_size))
            sizes = {"ih": rows, "hh": rows, **dict.fromkeys(self.normed_states, maker.hidden_size)}
            norms = {of: nn.LayerNorm(size, **maker.like) for of, size in sizes.items()}
            made["norm"] = nn.ModuleDict(norms)
        return made

    def keeps_bfloat16(self, device: str) -> bool:
        """Whether activations stay in bfloat16: never where they are normalised."""
        return not self.layer_norm and super().keeps_bfloat16(device)

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether a normalised layer runs step by step.

        It does while factors are captured, because the gradient of ``x`` is then not the gradient
        of ``W_hh h``, and where episodes begin on a GPU, whose kernels do not reset states.
        """
        on_cpu = sequence.x.is_cpu or sequence.resets is None
        return self.layer_norm and (captures(layer["weight_hh"]) or not on_cpu)

    def run_normed(self, layer: Layer, sequence: Sequence, state: State) -> States:
        """Call the kernel with layer normalisation."""
        weight, x = layer["weight_hh"], self.input_sums(layer, sequence.x)
        outputs, *others, _ = self.normed_operation.full(
            x,
            *state,
            weight.values,
            weight.pattern,
            self.norm_of_product(layer),
            batch_sizes=sequence.batch_sizes,
            resets=sequence.resets,
            **self.kernel_options(layer),
        )
        return outputs, sequence.last(outputs), *others

    def norm_of_product(self, layer: Layer) -> Norm:
        """Return the normalisation of ``W_hh h``, whose offset includes the biases."""
        norm, bias = Norm.of(layer["norm"]["hh"]), self.biases(layer)[1]
        return norm if bias is None else norm.plus(bias)

    def input_sums(self, layer: Layer, x: Tensor) -> Tensor:
        """Return ``W_ih x`` of all steps, normalised where the option is set."""
        if not self.layer_norm:
            return super().input_sums(layer, x)
        return Norm.of(layer["norm"]["ih"])(multiply(layer["weight_ih"], x))

    def product(self, layer: Layer) -> Callable[..., Tensor]:
        """Return the function that computes recurrent sums, normalised where the option is set."""
        if not self.layer_norm:
            return super().product(layer)
        norm, weight = self.norm_of_product(layer), layer["weight_hh"]
        return lambda h: norm(weight(h))
