"""Recurrent networks of one input and one recurrent weight: parameters by layer and direction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.nn import _init
from sparse_engine.nn._packed import last_rows, rows_before
from sparse_engine.nn._recurrent import Recurrent
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Norm


class SparseRecurrent(Recurrent):
    """A recurrent network with torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0.

    A cell is a subclass that implements :meth:`_cell`. The weights between layers are sparse, too.
    The arguments up to ``bidirectional``, and ``checkpoint_every``, are those of
    :class:`Recurrent`.

    Args:
        device: where the parameters are put.
        dtype: float32 or float64.
        density: share of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        input_density: the same for layer 0's input weights; at 1.0 they are an ordinary dense
            parameter.
        gain: scale of the initial sparse values, see :meth:`SparseWeight.erdos_renyi`.
        generator: source of randomness on the CPU.
        **settings: those of a subclass.

    Raises:
        ValueError: an argument out of range.
        TypeError: a setting that the network does not have, or one of another type.

    Attributes:
        gates: blocks of hidden_size rows in each weight.
        normed_states: what else layer normalisation normalises, of hidden_size features.
        most_fused_inputs: a dense input weight with at most this many columns is multiplied inside
            the time loop, which reads it at every step but never stores its product; a wider one
            in one large product up front.
        layer_norm: whether both contributions to a unit are normalised in every step, by
            :meth:`_normed_cell`.
    """

    gates: int = 1
    normed_states: tuple[str, ...] = ()
    most_fused_inputs: int = 0
    layer_norm: bool = False

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
        input_density: float = 1.0,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        checkpoint_every: int | None = None,
        **settings: object,
    ) -> None:
        shared = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(*shared, checkpoint_every=checkpoint_every, **settings)
        _init.check_density(density)
        _init.check_density(input_density, "input_density")

        def sparse(out_features: int, in_features: int, share: float = density) -> SparseWeight:
            return SparseWeight.erdos_renyi(
                out_features,
                in_features,
                density=share,
                gain=gain,
                generator=generator,
                device=device,
                dtype=dtype,
            )

        def dense(*shape: int) -> nn.Parameter:
            values = torch.empty(*shape, dtype=dtype)
            return nn.Parameter(_init.uniform_(values, hidden_size, generator).to(device))

        for name, inputs in self._layers():
            first = name.startswith("l0")
            share = input_density if first else density
            make_input = dense if first and share == 1 else partial(sparse, share=share)
            setattr(self, f"weight_ih_{name}", make_input(self.rows, inputs))
            for kind, weight in self._make_recurrent(sparse).items():
                setattr(self, f"weight_{kind}_{name}", weight)
            for kind, shape in self._bias_shapes.items() if bias else ():
                setattr(self, f"bias_{kind}_{name}", dense(*shape))

    @property
    def rows(self) -> int:
        """Of each weight."""
        return self.gates * self.hidden_size

    @property
    def _bias_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the biases of a layer, by kind."""
        return {"ih": (self.rows,), "hh": (self.rows,)}

    def _make_recurrent(self, sparse: Callable[[int, int], SparseWeight]) -> dict[str, nn.Module]:
        """The weights inside the time loop of a layer, by kind; ``sparse(out, in)`` makes one."""
        return {"hh": sparse(self.rows, self._size_of("h0"))}

    def _add_norms(self) -> None:
        """Gives each layer its normalisations, which are not computed in bfloat16."""
        self.layer_norm, self.narrow = True, ()
        values = self.weight_hh_l0.values
        sizes = {"ih": self.rows, "hh": self.rows} | dict.fromkeys(
            self.normed_states, self.hidden_size
        )
        for name, _ in self._layers():
            norms = {of: nn.LayerNorm(n).to(values) for of, n in sizes.items()}
            setattr(self, f"norm_{name}", nn.ModuleDict(norms))

    @property
    def _dtype(self) -> torch.dtype:
        return self.weight_hh_l0.dtype

    def _cell(
        self,
        name: str,
        x: Tensor,
        w_input: Tensor | None,
        initial: tuple[Tensor | None, ...],
        bias: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """All outputs ``[steps, batch, hidden]`` of one layer, and its final states.

        ``w_input`` are its dense input weights, or None where ``x`` is the input's contribution.
        That of a packable network takes ``batch_sizes=`` as :meth:`_layer` does.
        """
        raise NotImplementedError

    def _recurrent_weights(self, name: str) -> list[SparseWeight]:
        """Those that are multiplied inside the time loop of one layer."""
        return [getattr(self, f"weight_hh_{name}")]

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the input's contribution, and to the recurrent one."""
        if not self.bias:
            return None, None
        return None, getattr(self, f"bias_ih_{name}") + getattr(self, f"bias_hh_{name}")

    def _layer(
        self, name: str, x: Tensor, initial: tuple[Tensor | None, ...], **packing: Tensor
    ) -> tuple[Tensor, ...]:
        weights = self._recurrent_weights(name)
        for weight in weights:
            weight.refresh()
        if self.layer_norm:
            return self._normed(name, x, initial, **packing)
        weight_ih = getattr(self, f"weight_ih_{name}")
        noting = [weight for weight in weights if weight.factors is not None]
        input_bias, bias = self._biases(name)
        w_input = None
        if isinstance(weight_ih, SparseWeight):
            x = weight_ih(x, input_bias)
        elif (
            (not packing and x.shape[1] == 1)
            or weight_ih.shape[1] > self.most_fused_inputs
            or noting
        ):
            x = nn.functional.linear(x, weight_ih, input_bias)
        else:
            w_input = weight_ih
        if any(map(notes, noting)) and not x.requires_grad:
            x = x.detach().requires_grad_()
        return self._cell(name, x, w_input, initial, bias, **packing)

    def _normed(
        self, name: str, x: Tensor, initial: tuple[Tensor | None, ...], **packing: Tensor
    ) -> tuple[Tensor, ...]:
        """:meth:`_layer` with layer normalisation (Ba et al. 2016)."""
        weight_ih, norms = getattr(self, f"weight_ih_{name}"), getattr(self, f"norm_{name}")
        if not isinstance(weight_ih, SparseWeight):
            weight_ih = partial(nn.functional.linear, weight=weight_ih)
        norm = Norm.of(norms["hh"])
        if self.bias:
            norm = norm.plus(getattr(self, f"bias_ih_{name}") + getattr(self, f"bias_hh_{name}"))
        return self._normed_cell(name, norms["ih"](weight_ih(x)), initial, norm, **packing)

    def _normed_cell(
        self, name: str, x: Tensor, initial: tuple[Tensor | None, ...], norm: Norm
    ) -> tuple[Tensor, ...]:
        """:meth:`_cell` with layer normalisation: ``norm`` is that of the recurrent contribution.

        That of the input, ``x``, is normalised.
        """
        raise NotImplementedError


def goes_by_steps(weight: SparseWeight, x: Tensor) -> bool:
    """Whether layer normalisation takes operations of its own at every step.

    So it does on a GPU, which has no kernel for it, and where each step's factors are wanted: the
    gradient of x is not that of the recurrent contribution then.
    """
    return x.is_cuda or notes(weight)


def notes(weight: SparseWeight) -> bool:
    """Whether the factors of this use of a weight are wanted."""
    return weight.factors is not None and torch.is_grad_enabled()


def note_recurrence(
    weight: SparseWeight,
    h: Tensor,
    h0: Tensor | None,
    du: Tensor,
    *,
    batch_sizes: Tensor | None = None,
) -> None:
    """Notes the factors of a recurrent weight: each step's gradient and the state before it."""
    if batch_sizes is None:
        first, later, before = du[0], du[1:], h[:-1]
    else:
        first, later = du.tensor_split([int(batch_sizes[0])])
        before = h[rows_before(batch_sizes)]
    weight.note(before, later)
    if h0 is not None:
        weight.note(h0, first)


def pair(hx: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
    """Return the two initial states of an LSTM; raise TypeError for what is no pair."""
    if hx is None:
        return None, None
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        kind = type(hx).__name__
        found = f"{kind} of {len(hx)}" if isinstance(hx, (tuple, list)) else kind
        raise TypeError(f"expected a pair (h0, c0), found {found}")
    return hx


def last_states(h: Tensor, batch_sizes: Tensor | None) -> Tensor:
    """The last state of each sequence, ``[batch, hidden]``."""
    return h[-1] if batch_sizes is None else h.index_select(0, last_rows(batch_sizes))
