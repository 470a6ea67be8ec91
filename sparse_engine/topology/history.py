"""What a weight's links have been since its first wiring."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Rewired, carry
from sparse_engine.topology.rule import Rule, State


class History(Rule):
    """Follows one weight through its rewirings, in O(links ever used) memory.

    Attributes:
        weight: whose history it is; its links now are the first wiring.
        rewirings: how many there were.
        founders: the number of links of the first wiring.
        founding: bool ``[nnz]``, true for links of the first wiring that never left.
        ever: int64, cells that ever held a link, ``row * in_features + column``, increasing.
    """

    def __init__(self, weight: SparseWeight) -> None:
        self.weight = weight
        self.rewirings = 0
        self.founders = weight.nnz
        self.founding = torch.ones_like(weight.col_indices, dtype=torch.bool)
        self.ever = weight.pattern.links.cells()

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
        links, born = rewired.links, rewired.born.long()
        self.rewirings += 1
        self.founding = carry(self.founding, rewired.slot_map, links.nnz)
        rows = torch.searchsorted(links.crow, born, right=True) - 1
        self.ever = union(self.ever, rows * links.in_features + links.col[born])

    def state_dict(self) -> State:
        """See :meth:`Rule.state_dict`."""
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
        device = self.weight.values.device
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
        self.founding, self.ever = founding.to(device), ever.to(device)


def union(known: Tensor, cells: Tensor) -> Tensor:
    """All that are in one of two increasing int64 tensors without repeats, increasing.

    Equals ``torch.cat([known, cells]).unique()``; linear in ``known``, which is not sorted again.
    """
    place = torch.searchsorted(known, cells)
    fresh = torch.nn.functional.pad(known, (0, 1), value=-1)[place] != cells
    cells, place = cells[fresh], place[fresh]
    old = known.new_ones(known.numel() + cells.numel(), dtype=torch.bool)
    place += torch.arange(cells.numel(), device=cells.device)
    old[place] = False
    merged = torch.empty_like(old, dtype=torch.int64)
    merged[old] = known
    merged[place] = cells
    return merged


def _check(name: str, entry: object, dtype: torch.dtype) -> None:
    if not isinstance(entry, Tensor) or entry.dtype != dtype or entry.dim() != 1:
        raise ValueError(f"expected {name} as a {dtype} tensor of one dimension, found {entry!r}")
