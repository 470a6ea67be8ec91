"""The equations of every cell on dense matrices, one time step at a time, in plain torch.

They are written from the papers, apart from the reference implementations of the operations. A new
cell adds its function to EQUATIONS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.nn import RK4, AlphaSynapse, Recurrent, SparseWeight
from sparse_engine.nn._inputs import states_of


class Layer:
    """The parameters of one layer and direction; those of sparse weights as dense matrices."""

    def __init__(self, equations: Equations, suffix: str) -> None:
        self.network, self.suffix, self.equations = equations.network, suffix, equations

    def __call__(self, kind: str) -> Tensor | float:
        """Return a parameter such as ``"weight_hh"`` or ``"weight_hh.1"``; 0 if there is none."""
        kind, *levels = kind.split(".")
        value = getattr(self.network, f"{kind}_{self.suffix}", 0.0)
        for level in levels:
            value = value[int(level)]
        return self.equations.dense(value) if isinstance(value, SparseWeight) else value

    def normed(self, of: str, y: Tensor) -> Tensor:
        """Return ``y`` normalised over its features, if the network does so (Ba et al. 2016)."""
        if not getattr(self.network, "layer_norm", False):
            return y
        norm = getattr(self.network, f"norm_{self.suffix}")[of]
        mean, var = y.mean(-1, keepdim=True), y.var(-1, correction=0, keepdim=True)
        y = (y - mean) / (var + norm.eps).sqrt()
        return y * norm.weight + norm.bias if norm.elementwise_affine else y

    def contributions(self, x: Tensor, h: Tensor) -> Tensor:
        """Return ``x W_ih^T + b_ih + h W_hh^T + b_hh``."""
        of_x = self.normed("ih", x @ self("weight_ih").T)
        of_h = self.normed("hh", h @ self("weight_hh").T)
        return of_x + self("bias_ih") + of_h + self("bias_hh")


def rnn(layer: Layer, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return (getattr(torch, layer.network.nonlinearity)(layer.contributions(x, h)),)


def lstm(layer: Layer, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = layer.contributions(x, h).chunk(4, -1)
    c = clipped(f.sigmoid() * c + i.sigmoid() * g.tanh(), layer.network.cell_clip)
    h = o.sigmoid() * layer.normed("c", c).tanh()
    return (h @ layer("weight_hr").T if layer.network.proj_size else h), c


def gru(layer: Layer, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    of_x = (x @ layer("weight_ih").T + layer("bias_ih")).chunk(3, -1)
    of_h = (h @ layer("weight_hh").T + layer("bias_hh")).chunk(3, -1)
    r, z = ((a + b).sigmoid() for a, b in zip(of_x[:2], of_h[:2], strict=True))
    return ((1 - z) * torch.tanh(of_x[2] + r * of_h[2]) + z * h,)


def mgu(layer: Layer, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    of_x = (x @ layer("weight_ih").T + layer("bias_ih")).chunk(2, -1)
    of_h = (h @ layer("weight_hh").T + layer("bias_hh")).chunk(2, -1)
    f = (of_x[0] + of_h[0]).sigmoid()
    return ((1 - f) * h + f * torch.tanh(of_x[1] + f * of_h[1]),)


def rhn(layer: Layer, x: Tensor, s: Tensor) -> tuple[Tensor, ...]:
    for level in range(layer.network.recurrence_depth):
        read = s if layer.equations.mask is None else layer.equations.mask * s
        u = read @ layer(f"weight_hh.{level}").T
        u = u + (x @ layer("weight_ih").T if level == 0 else 0)
        u = u + (layer("bias_hh")[level] if layer.network.bias else 0)
        candidate, t, *c = u.split(layer.network.hidden_size, -1)
        carry = c[0].sigmoid() if c else 1 - t.sigmoid()
        s = candidate.tanh() * t.sigmoid() + s * carry
    return (s,)


def on_lstm(layer: Layer, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    u, units, chunk = layer.contributions(x, h), c.shape[-1], layer.network.chunk_size
    of_input, of_forget, *gates = u.split([units // chunk] * 2 + [units] * 4, -1)
    master_i = (1 - of_input.softmax(-1).cumsum(-1)).repeat_interleave(chunk, -1)
    master_f = of_forget.softmax(-1).cumsum(-1).repeat_interleave(chunk, -1)
    o, g, i, f = gates
    both = master_f * master_i
    f = f.sigmoid() * both + master_f - both
    i = i.sigmoid() * both + master_i - both
    c = f * c + i * g.tanh()
    return o.sigmoid() * c.tanh(), c


def ctrnn(layer: Layer, x: Tensor, h: Tensor, span: Tensor) -> tuple[Tensor, ...]:
    network = layer.network
    tau = network.tau(layer.suffix) if hasattr(network, "tau") else math.inf
    dt = span[:, None] / network.unfolds

    def field(h: Tensor) -> Tensor:
        return torch.tanh(layer.contributions(x, h)) - h / tau

    for _ in range(network.unfolds):
        k = field(h)
        if isinstance(network.cell.solver, RK4):
            k_2 = field(h + dt / 2 * k)
            k_3 = field(h + dt / 2 * k_2)
            k = (k + 2 * k_2 + 2 * k_3 + field(h + dt * k_3)) / 6
        h = clipped(h + dt * k, getattr(network, "cell_clip", None))
    return (h,)


def rate_rnn(layer: Layer, x: Tensor, v: Tensor, span: Tensor) -> tuple[Tensor, ...]:
    network, bias = layer.network, layer("bias")
    if network.groups is not None and network.bias:
        bias = bias[network.groups]
    held = x @ layer("weight_ih").T + bias
    for _ in range(network.unfolds):
        rates = getattr(nn.functional, network.nonlinearity)(v)
        change = -v + held + rates @ layer("weight_hh").T
        v = v + span[:, None] / network.unfolds / network.tau(layer.suffix) * change
    return (v,)


def lif(
    layer: Layer, x: Tensor, h: Tensor, v: Tensor, i: Tensor, *more: Tensor
) -> tuple[Tensor, ...]:
    """Subscripts are those of the exact solution for distinct time constants."""
    network, more = layer.network, list(more)
    tau_m, tau_s, r = network.tau_membrane, network.synapse.tau, network.resistance
    alpha = isinstance(network.synapse, AlphaSynapse)
    g = more.pop(0) if alpha else 0.0
    rests = more.pop(0) if network.refractory or not network.keeps_current else None
    sent = torch.cat([more[0], h], -1) if more else h
    units = h.shape[-1]
    arrived = x @ layer("weight_ih").T + layer("bias_ih")
    arrived = arrived + sent[:, :units] @ layer("weight_hh").T + layer("bias_hh")
    resting = torch.zeros_like(h, dtype=torch.bool)
    if rests is not None:
        if not network.keeps_current:
            arrived = torch.where(rests > 0, 0.0, arrived)
        rests = (rests - 1).clamp(min=0).detach()
        resting = rests > 0
    e_m, e_s = math.exp(-network.dt / tau_m), math.exp(-network.dt / tau_s)
    rate = 1 / tau_m - 1 / tau_s  # of exp(rate u), which is integrated over the step
    once = math.expm1(rate * network.dt) / rate
    if alpha:
        g = g + arrived
        twice = (network.dt * math.exp(rate * network.dt) - once) / rate
        driven = r / tau_m * e_m * (once * i + twice / tau_s * g)
        i, g = e_s * (i + network.dt / tau_s * g), e_s * g
    else:
        i = i + arrived
        driven = r / tau_m * e_m * once * i
        i = e_s * i
    v = torch.where(resting, v, e_m * v + driven)
    u = v - network.threshold
    fires = (u > 0) & ~resting
    spikes = Hard.apply(u, network.surrogate)
    spikes = torch.where(resting, 0.0, spikes)
    v = torch.where(fires, network.reset, v)
    if rests is not None:
        rests = torch.where(fires, network.refractory + 1.0, rests)
        if not network.keeps_current:
            i = torch.where(rests > 0, 0.0, i)
            g = torch.where(rests > 0, 0.0, g) if alpha else g
    of_delay = [] if not more else [sent[:, units:]]
    return spikes, v, i, *([g] if alpha else []), *([] if rests is None else [rests]), *of_delay


class Hard(torch.autograd.Function):
    """A spike above threshold, with a gradient by the formula of the surrogate's paper."""

    @staticmethod
    def forward(ctx, u, surrogate):
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        (u,), scale = ctx.saved_tensors, ctx.surrogate.scale
        slopes = {
            "SuperSpike": lambda: (1 + scale * u.abs()) ** -2,
            "ATan": lambda: 1 / (1 + (scale * u) ** 2),
            "Triangle": lambda: (1 - scale * u.abs()).clamp(min=0),
        }
        return grad * slopes[type(ctx.surrogate).__name__](), None


def clipped(state: Tensor, limit: float | None) -> Tensor:
    """Return the state within the limit, where it is a constant."""
    if limit is None:
        return state
    return torch.where(state.abs() < limit, state, limit * state.detach().sign())


def ltc(layer: Layer, x: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    cm, leak = layer("cm"), layer("gleak")
    into, through = currents(layer, "weight_ih", x * layer("input_w") + layer("input_b"))
    for _ in range(layer.network.unfolds):
        current, total = currents(layer, "weight_hh", v)
        v = (cm * v + leak * layer("vleak") + current + into) / (cm + leak + total + through)
    return (v,)


def currents(layer: Layer, kind: str, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over all sources of ``g * erev`` and of ``g``."""
    weight = getattr(layer.network, f"{kind}_{layer.suffix}")
    at = weight.rows(), weight.col_indices.long()
    w, mu, sigma, erev = (
        torch.zeros(weight.shape, dtype=weight.dtype).index_put(at, each)
        for each in (weight.values, weight.mu, weight.sigma, weight.erev)
    )
    g = w / (1 + torch.exp(-sigma * (v[..., None, :] - mu)))
    return (g * erev).sum(-1), g.sum(-1)


#: One step of a layer of each cell, from its input and states: the new states, output first.
EQUATIONS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "rnn": rnn,
    "lstm": lstm,
    "gru": gru,
    "mgu": mgu,
    "rhn": rhn,
    "on_lstm": on_lstm,
    "ctrnn": ctrnn,
    "rate_rnn": rate_rnn,
    "neural_ode": ctrnn,
    "ltc": ltc,
    "lif": lif,
}


class Equations(nn.Module):
    """The function of a network by equations, on the network's own parameters.

    ``mask`` multiplies the recurrent state of a highway network. ``gradients`` are those of each
    weight as a dense matrix, after a backward pass.
    """

    def __init__(self, network: Recurrent, step: Callable, mask: Tensor | None = None) -> None:
        super().__init__()
        self.network, self.step, self.mask = network, step, mask
        self.matrices: dict[SparseWeight, Tensor] = {}
        self.gradients: dict[SparseWeight, Tensor] = {}

    def dense(self, weight: SparseWeight) -> Tensor:
        """Return a weight as a matrix, made once in each call."""
        if weight not in self.matrices:
            self.matrices[weight] = weight.to_dense()
            if self.matrices[weight].requires_grad:
                self.matrices[weight].register_hook(partial(self.gradients.__setitem__, weight))
        return self.matrices[weight]

    def forward(
        self,
        x: Tensor,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        *,
        lengths: Sequence[int] | None = None,
        timespans: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run the network; see :meth:`Recurrent.forward`. States are always a tuple."""
        self.matrices, self.gradients = {}, {}
        network, single = self.network, x.dim() == 2
        states = states_of(network, hx)
        if single:
            x, states = x[:, None], [None if s is None else s[:, None] for s in states]
        elif network.batch_first:
            x = x.transpose(0, 1)
        spans = self.spans(x, timespans, single)
        if resets is not None:
            resets = resets.T if network.batch_first and not single else resets
            resets = resets.reshape(x.shape[:2])
        if lengths is None:
            y, final = self.walk(x, states, spans, resets)
        else:
            y, final = self.by_length(x, states, lengths)
        if single:
            return y[:, 0], tuple(each[:, 0] for each in final)
        return y.transpose(0, 1) if network.batch_first else y, final

    def spans(self, x: Tensor, timespans: Tensor | None, single: bool) -> Tensor | None:
        """Return how long each input is held, ``[steps, batch]``."""
        if not self.network.cell.timed:
            return None
        if timespans is None:
            return x.new_full(x.shape[:2], self.network.dt * self.network.unfolds)
        if timespans.dim() == 1:
            timespans = timespans[:, None]
        elif self.network.batch_first and not single:
            timespans = timespans.T
        return timespans.expand(x.shape[:2])

    def by_length(
        self, x: Tensor, states: Sequence[Tensor | None], lengths: Sequence[int]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run the sequences of each length by themselves, and pad the outputs with zeros."""
        outputs, ends, order = [], [], []
        for length in {*lengths}:
            rows = [n for n, each in enumerate(lengths) if each == length]
            own = [None if state is None else state[:, rows] for state in states]
            y, end = self.walk(x[:length, rows], own, None)
            outputs.append(torch.cat([y, y.new_zeros(len(x) - length, *y.shape[1:])]))
            ends.append(end)
            order += rows
        back = torch.tensor(order).argsort()
        final = tuple(torch.cat(states, 1)[:, back] for states in zip(*ends, strict=True))
        return torch.cat(outputs, 1)[:, back], final

    def walk(
        self,
        x: Tensor,
        states: Sequence[Tensor | None],
        spans: Tensor | None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        ends, outputs = [], []
        for suffix, _ in self.network.layers():
            if outputs and not suffix.endswith("_reverse"):
                x, outputs = self.network.cell.to_next_layer(torch.cat(outputs, -1)), []
            order = (lambda s: s.flip(0)) if suffix.endswith("_reverse") else (lambda s: s)
            start = [None if s is None else s[len(ends)] for s in states]
            given = [spans, resets]
            if resets is not None and suffix.endswith("_reverse"):
                given[1] = torch.cat([resets[1:], torch.zeros_like(resets[:1])])
            given = [None if each is None else order(each) for each in given]
            y, end = self.layer(suffix, order(x), start, *given)
            outputs.append(order(y))
            ends.append(end)
        final = tuple(torch.stack(each) for each in zip(*ends, strict=True))
        return torch.cat(outputs, -1), final

    def layer(
        self,
        suffix: str,
        x: Tensor,
        start: Sequence[Tensor | None],
        spans: Tensor | None,
        resets: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        layer, outputs = Layer(self, suffix), []
        state = tuple(
            x.new_zeros(x.shape[1], self.network.size_of(name)) if given is None else given
            for name, given in zip(self.network.states, start, strict=True)
        )
        for t, each in enumerate(x):
            if resets is not None:
                state = tuple(own * (1 - resets[t].to(x.dtype))[:, None] for own in state)
            state = self.step(layer, each, *state, *([] if spans is None else [spans[t]]))
            outputs.append(state[0])
        return torch.stack(outputs), state
