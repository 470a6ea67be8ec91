"""What a weight's links have been since its first wiring."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Rewired, carry
from sparse_engine.topology.rule import State


class History:
    """Follows one weight through its rewirings, in O(links ever used) memory.

    Attributes:
        weight: whose history it is; its links now are the first wiring.
        rewirings: how many there were.
        founders: the number of links of the first wiring.
        founding: bool ``[nnz]``, true for links of the first wiring that never left.
        ever: int64 on the CPU, cells that ever held a link, ``row * in_features + column``,
            increasing.
    """

    def __init__(self, weight: SparseWeight) -> None:
        self.weight = weight
        self.rewirings = 0
        self.founders = weight.nnz
        self.founding = torch.ones_like(weight.col_indices, dtype=torch.bool)
        self.ever = weight.pattern.links.cells().cpu()

    @property
    def survival(self) -> float:
        """The share of the links of the first wiring that never left; 1 if it had none."""
        return int(self.founding.sum()) / self.founders if self.founders else 1.0

    @property
    def exploration(self) -> float:
        """The share of all cells that ever held a link."""
        return self.ever.numel() / max(1, math.prod(self.weight.shape))

    def follow(self, rewired: Rewired) -> None:
        """Takes note of a rewiring of the weight."""
        self.rewirings += 1
        self.founding = carry(self.founding, rewired.slot_map, rewired.links.nnz)
        self.ever = union(self.ever, rewired.links.cells()[rewired.born.long()].cpu())

    def state_dict(self) -> State:
        """The counts and tensors above, for a checkpoint."""
        return {
            "rewirings": self.rewirings,
            "founders": self.founders,
            "founding": self.founding,
            "ever": self.ever,
        }

    def load_state_dict(self, state: State) -> None:
        """Takes over the history of a saved run, whose links the weight must have already.

        Raises:
            ValueError: entries missing, or not of this weight.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"expected the entries {sorted(own)}, found {sorted(state)}")
        rewirings, founders, founding, ever = (state[name] for name in own)
        if not all(isinstance(count, int) and count >= 0 for count in (rewirings, founders)):
            raise ValueError(f"expected counts of at least 0, found {rewirings} and {founders}")
        _check("founding", founding, torch.bool)
        _check("ever", ever, torch.int64)
        if founding.shape != (self.weight.nnz,) or int(founding.sum()) > founders:
            raise ValueError(
                f"expected {self.weight.nnz} entries of founding, at most {founders} of them "
                f"true, found {founding.numel()} with {int(founding.sum())}"
            )
        cells = math.prod(self.weight.shape)
        bounded = torch.nn.functional.pad(ever, (1, 0), value=-1)
        if not (bounded.diff() > 0).all() or bounded[-1] >= cells:
            raise ValueError(f"expected ever to be increasing cells in [0, {cells})")
        self.rewirings, self.founders = rewirings, founders
        self.founding, self.ever = founding.to(self.weight.values.device), ever.cpu()


def union(known: Tensor, cells: Tensor) -> Tensor:
    """All that are in one of two increasing int64 tensors, increasing and each once.

    Equals ``torch.cat([known, cells]).unique()``, on the CPU and in linear time.
    """
    both = np.concatenate([known, cells])
    # The stable sort takes what is in order already as it is, and merges two such runs.
    both.sort(kind="stable")
    return torch.from_numpy(both).unique_consecutive()


def _check(name: str, entry: object, dtype: torch.dtype) -> None:
    if not isinstance(entry, Tensor) or entry.dtype != dtype or entry.dim() != 1:
        raise ValueError(f"expected {name} as a {dtype} tensor of one dimension, found {entry!r}")
