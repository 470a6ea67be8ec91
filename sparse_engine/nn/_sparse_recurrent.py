"""Recurrent networks of one input and one recurrent weight: parameters by layer and direction."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.nn import _init
from sparse_engine.nn._packed import Running, last_rows, rows_before
from sparse_engine.nn._recurrent import Recurrent
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._sequence import batch_of, joined, steps_of


class SparseRecurrent(Recurrent):
    """A recurrent network with torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0.

    A cell is a subclass that implements :meth:`_cell`. The weights between layers are sparse, too.

    Attributes:
        gates: blocks of hidden_size rows in each weight.
        normed_states: what else layer normalisation normalises, of hidden_size features.
        most_fused_inputs: a dense input weight with at most this many columns is multiplied inside
            the time loop, which reads it at every step but never stores its product; a wider one
            in one large product up front.
        layer_norm: whether both contributions to a unit are normalised in every step. The steps are
            then operations of their own, :meth:`_normed_step`.
    """

    gates: int = 1
    normed_states: tuple[str, ...] = ()
    most_fused_inputs: int = 0
    layer_norm: bool = False

    def __init__(
        self,
        *,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        density: float,
        input_density: float,
        gain: float,
        generator: torch.Generator | None,
        checkpoint_every: int | None = None,
        layer_norm: bool = False,
        **settings: object,
    ) -> None:
        super().__init__(checkpoint_every=checkpoint_every, **settings)
        self.layer_norm = layer_norm
        _init.check_density(density)
        _init.check_density(input_density, "input_density")

        def sparse(out_features: int, in_features: int, share: float) -> SparseWeight:
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
            return nn.Parameter(_init.uniform_(values, self.hidden_size, generator).to(device))

        rows = self.rows
        for name, inputs in self._layers():
            first = name.startswith("l0")
            share = input_density if first else density
            make_input = dense if first and share == 1 else partial(sparse, share=share)
            setattr(self, f"weight_ih_{name}", make_input(rows, inputs))
            setattr(self, f"weight_hh_{name}", sparse(rows, self._size_of("h0"), density))
            if self.bias:
                setattr(self, f"bias_ih_{name}", dense(rows))
                setattr(self, f"bias_hh_{name}", dense(rows))
            if layer_norm:
                states = dict.fromkeys(self.normed_states, self.hidden_size)
                sizes = {"ih": rows, "hh": rows, **states}
                norms = {of: nn.LayerNorm(n, device=device, dtype=dtype) for of, n in sizes.items()}
                setattr(self, f"norm_{name}", nn.ModuleDict(norms))

    @property
    def rows(self) -> int:
        """Of each weight."""
        return self.gates * self.hidden_size

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
        if self.layer_norm:
            return self._normed(name, x, initial, **packing)
        weight_ih = getattr(self, f"weight_ih_{name}")
        noting = [weight for weight in self._recurrent_weights(name) if weight.factors is not None]
        input_bias, bias = self._biases(name)
        w_input = None
        if isinstance(weight_ih, SparseWeight):
            x = weight_ih(x, input_bias)
        elif (
            batch_of(x, packing.get("batch_sizes")) == 1
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
        self,
        name: str,
        x: Tensor,
        initial: tuple[Tensor | None, ...],
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """:meth:`_layer` with layer normalisation (Ba et al. 2016)."""
        weight_ih, weight_hh = (getattr(self, f"weight_{kind}_{name}") for kind in ("ih", "hh"))
        norms = getattr(self, f"norm_{name}")
        if not isinstance(weight_ih, SparseWeight):
            weight_ih = partial(nn.functional.linear, weight=weight_ih)
        x = norms["ih"](weight_ih(x))
        if self.bias:
            x = x + getattr(self, f"bias_ih_{name}") + getattr(self, f"bias_hh_{name}")
        zeros = x.new_zeros(batch_of(x, batch_sizes), self.hidden_size)
        running = Running([zeros if each is None else each for each in initial])
        outputs = []
        for step in steps_of(x, batch_sizes):
            running.keep(step.shape[0])
            z = step + norms["hh"](weight_hh(running.state[0]))
            running.state = self._normed_step(norms, z, running.state)
            outputs.append(running.state[0])
        return joined(outputs, batch_sizes), *running.final()

    def _normed_step(
        self, norms: nn.ModuleDict, z: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The state after a step, from the one before and the normalised contributions to it."""
        raise NotImplementedError


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


def last_states(h: Tensor, batch_sizes: Tensor | None) -> Tensor:
    """The last state of each sequence, ``[batch, hidden]``."""
    return h[-1] if batch_sizes is None else h.index_select(0, last_rows(batch_sizes))
