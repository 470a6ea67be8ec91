"""Selfish-RNN: the gates of a cell compete for links."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey
from sparse_engine.topology.dynamic import Dynamic
from sparse_engine.topology.gates import check_gates
from sparse_engine.topology.grow import EqualPerGate, Grow
from sparse_engine.topology.presets._decay import cosine
from sparse_engine.topology.prune import Magnitude


class Selfish(Dynamic):
    """Cell-gate redistribution of Selfish-RNN (Liu et al., ICML 2021).

    All gates of a cell share one weight. Its links of smallest magnitude go, by one threshold for
    all gates; uniformly random ones grow, the same number in each gate. So a gate whose links
    matter little ends with fewer. The share falls along half a cosine to 0.005.

    The paper starts from ``wire(model, EqualDensity(0.33))`` and trains with
    :class:`~sparse_engine.optim.SNTASGD`.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any of torch's but LBFGS; its state moves with the links.
        steps: of the whole training.
        gates: blocks of rows that the weights consist of, 4 for an LSTM; or such a number for each
            name of a weight in the model that has several.
        fraction: the share that the first rewirings replace, in [0, 1] (the paper: up to 0.8).
        every: steps between rewirings (the paper: one epoch).
        seed: of the random numbers.

    Raises:
        ValueError: an argument out of range, gates of a weight that does not exist, or that do not
            divide its rows.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        steps: int,
        gates: int | Mapping[str, int] = 4,
        fraction: float = 0.5,
        every: int = 100,
        seed: int = 0,
    ) -> None:
        several = isinstance(gates, Mapping)
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=_GatesByWeight() if several else EqualPerGate(gates),
            fraction=cosine(fraction, steps, end=0.005),
            every=every,
            seed=seed,
        )
        weights = dict(zip(self.names, self.weights, strict=True))
        counts = dict(gates) if several else dict.fromkeys(weights, gates)
        for name, count in counts.items():
            if name not in weights:
                raise ValueError(f"expected gates of {self.names}, found {name!r}")
            check_gates(count)
            if weights[name].shape[0] % count:
                raise ValueError(
                    f"expected a number of gates that divides the {weights[name].shape[0]} rows "
                    f"of {name!r}, found {count}"
                )
            if several:
                self.grow.rules[weights[name]] = EqualPerGate(count)


class _GatesByWeight(Grow):
    """Equal growth per gate, for weights of different numbers of gates."""

    def __init__(self) -> None:
        self.rules: dict[SparseWeight, EqualPerGate] = {}

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        return self.rules.get(weight, EqualPerGate(1)).grow(weight, kept, count, key)
