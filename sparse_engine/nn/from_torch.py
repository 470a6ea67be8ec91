"""Sparse recurrent networks that replace those of torch.nn, and convert from and to them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.nn._dense_values import effective, magnitude_mask, takes_gradients
from sparse_engine.nn.sparse_recurrent import SparseRecurrent
from sparse_engine.nn.weight import SparseWeight


class DropIn(SparseRecurrent):
    """Sparse recurrent network with the arguments, shapes and results of one of torch.nn.

    Arguments by position are those of torch.nn in torch's order; those that torch.nn does not have
    are keyword-only, see :class:`SparseRecurrent`.

    Attributes:
        dense_type: class of the counterpart in torch.nn, whose constructor takes all ``options``
            that are marked ``in_torch``.
    """

    dense_type: type[nn.RNNBase]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: float,
        **settings: Any,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            **settings,
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | tuple[Tensor, Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Any]:
        """Run the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence; or a PackedSequence, in whose
                order of sequences the states are.
            hx: the initial state h0, ``[num_layers * directions, batch, hidden_size]``, without the
                batch for a single sequence; zeros by default. For an LSTM the pair (h0, c0), where
                h0 has proj_size features if proj_size is not 0.
            lengths: number of steps of each sequence, ``[batch]`` integers on the CPU. Later steps
                are not read, and their output is zero. By default all sequences have all steps.
            resets: where episodes begin, of the shape of ``input`` without features: bool, or
                floats that are 0 elsewhere. There the state of every layer is zero before the step,
                and no gradient passes to the step before. A layer that reads backwards is set back
                where an episode ends. Not with a PackedSequence or lengths. By default nowhere.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]``
            (or as ``input`` is laid out or packed), and every layer's final state, of the shape of
            ``hx``.

        Raises:
            InputError: a shape or dtype does not fit, there is no step, or a length is wrong.
            TypeError: an input or a state that is no tensor, or no pair of tensors for an LSTM.
        """
        results = self.run(input, *self.states_of(hx), lengths=lengths, resets=resets)
        return results if len(results) == 2 else (results[0], results[1:])

    @classmethod
    def from_dense(
        cls,
        dense: nn.RNNBase,
        *,
        density: float | None = None,
        mask: Tensor | Mapping[str, Tensor] | None = None,
        input_density: float = 1.0,
    ) -> DropIn:
        """Make a sparse network that keeps some weights of a dense network, with their values.

        Its mode and ``requires_grad`` are those of the dense network.

        Args:
            dense: the network to copy, with all of its options.
            density: fraction of each sparse weight to keep, the largest entries by magnitude.
            mask: the entries to keep: a bool matrix for ``weight_hh_l0``, or a mapping from
                parameter names to matrices. Without density or mask, the entries that
                ``torch.nn.utils.prune`` has kept in a pruned weight, and in any other weight
                those that are not 0.
            input_density: fraction of layer 0's input weights to keep; 1.0 keeps them dense.

        Raises:
            TypeError: ``dense`` is not of ``dense_type``.
            ValueError: both density and mask, or a mask that does not fit.
        """
        found = type_before_parametrizations(dense)
        if found is not cls.dense_type:
            raise TypeError(
                f"expected a torch.nn.{cls.dense_type.__name__}, found {found.__name__}"
            )
        if density is not None and mask is not None:
            raise ValueError("expected density or mask, found both")
        if isinstance(mask, Tensor):
            mask = {"weight_hh_l0": mask}
        masks = dict(mask or {})
        network = cls._without_weights(dense)
        for name in network._names(dense):
            values, pruned = effective(dense, name)
            trained = takes_gradients(dense, name)
            first = name.startswith("weight_ih_l0")
            share = input_density if first else density
            kept = None
            if name.startswith("weight"):
                kept = masks.pop(name, pruned if density is None and mask is None else None)
            if name.startswith("bias") or (first and share == 1 and kept is None):
                network._replace(name, nn.Parameter(values.clone(), trained))
                continue
            if kept is None and share is not None:
                kept = magnitude_mask(values, share)
            network._replace(name, SparseWeight.from_dense(values, kept).requires_grad_(trained))
        if masks:
            raise ValueError(f"expected masks for sparse weights, found {sorted(masks)}")
        return network.train(dense.training)

    @classmethod
    def _without_weights(cls, dense: nn.RNNBase) -> DropIn:
        """Make a network with the options of ``dense`` on the meta device."""
        of_torch = [name for name, option in cls.options.items() if option.in_torch]
        options = {name: getattr(dense, name) for name in of_torch}
        with warnings.catch_warnings():  # torch has already warned when ``dense`` was made
            warnings.simplefilter("ignore")
            return cls(
                **options,
                density=sys.float_info.min,
                device="meta",
                generator=torch.Generator(),  # leaves torch's global generator as it is
            )

    def _replace(self, name: str, value: nn.Parameter | SparseWeight) -> None:
        """Replace a weight by one of any kind, and make it the last parameter."""
        delattr(self, name)
        setattr(self, name, value)

    def _names(self, dense: nn.RNNBase) -> Iterator[str]:
        """Yield the names of the parameters in torch's order."""
        for suffix, _ in self.layers():
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"):
                if hasattr(dense, f"{kind}_{suffix}"):
                    yield f"{kind}_{suffix}"

    def to_dense(self) -> nn.RNNBase:
        """Return the network of torch.nn that computes the same.

        Raises:
            ValueError: an option that torch.nn lacks is in use, such as cell_clip or layer_norm.
        """
        options = {}
        for name, option in self.options.items():
            value = getattr(self, name)
            if option.in_torch:
                options[name] = value
            elif not option.has_counterpart(value):
                raise ValueError(f"expected no {name} to convert, found {value}")
        weight = next(self.parameters())
        dense = self.dense_type(**options, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            for name, parameter in dense.named_parameters():
                own = getattr(self, name)
                parameter.copy_(own.to_dense() if isinstance(own, SparseWeight) else own)
        return dense.train(self.training)
