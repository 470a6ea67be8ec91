"""The pattern of a sparse matrix, in the two orders that the operations need."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.native import checked, native

#: The fewest links of a piece, and the warps that share the links, as ``plan.h`` has them.
FEWEST_LINKS, WARPS = 256, 8192


class Links(NamedTuple):
    """Positions of the links of a matrix, in CSR order only.

    Attributes:
        crow: int64 ``[out_features + 1]``, where each row's links begin.
        col: int32 ``[nnz]``, column of each link, strictly increasing within a row.
        in_features: the number of columns.

    Example:
        >>> links_at(torch.tensor([1, 2]), 2, 2)
        Links(crow=tensor([0, 1, 2]), col=tensor([1, 0], dtype=torch.int32), in_features=2)
    """

    crow: Tensor
    col: Tensor
    in_features: int

    @property
    def nnz(self) -> int:
        """The number of links."""
        return self.col.numel()

    @property
    def absent(self) -> int:
        """The number of positions that hold no link."""
        return (self.crow.numel() - 1) * self.in_features - self.nnz

    def rows(self) -> Tensor:
        """Return the row of each link, int64 ``[nnz]``."""
        return torch.repeat_interleave(self.crow.diff(), output_size=self.nnz)

    def positions(self) -> Tensor:
        """Return ``row * in_features + column`` of each link, int64 ``[nnz]``, increasing."""
        return self.rows() * self.in_features + self.col


class Pattern(NamedTuple):
    """Positions of the links of an ``out_features x in_features`` matrix: CSR, and its transpose.

    A plain tuple of tensors, which native operations take as a list. Make it with :meth:`from_csr`,
    which checks everything. On the CPU, an operation checks again that no index is out of range,
    and raises ValueError where one is; that the transpose belongs to the links is not checked.

    Attributes:
        crow: int64 ``[out_features + 1]``, where each row's links begin.
        col: int32 ``[nnz]``, column of each link, strictly increasing within a row.
        t_crow: int64 ``[in_features + 1]``, the same for the transposed matrix.
        t_col: int32 ``[nnz]``, row of each link of the transposed matrix.
        permutation: int32 ``[nnz]``, position in ``col`` of each link of the transposed matrix.
        plan: int32, how kernels on a GPU cut long rows of both matrices into pieces.

    Example:
        >>> Pattern.from_csr(torch.tensor([0, 1, 2]), torch.tensor([1, 0]), (2, 2)).col.tolist()
        [1, 0]
    """

    crow: Tensor
    col: Tensor
    t_crow: Tensor
    t_col: Tensor
    permutation: Tensor
    plan: Tensor

    @classmethod
    def from_csr(cls, crow: Tensor, col: Tensor, shape: tuple[int, int]) -> Pattern:
        """Check CSR index tensors (any integer dtype) completely, and add the transpose.

        Raises:
            ValueError: naming the first entry that is out of range, unsorted or duplicated.
        """
        out_features, in_features = shape
        if crow.dim() != 1 or crow.numel() != out_features + 1:
            raise ValueError(
                f"expected crow_indices of shape [{out_features + 1}], found {[*crow.shape]}"
            )
        crow = integers(crow, "crow_indices", torch.int64).contiguous()
        col = integers(col, "col_indices", torch.int32).contiguous()
        checked(native.check_csr, crow, col, in_features)
        return cls.of(Links(crow, col, in_features))

    @classmethod
    def of(cls, links: Links) -> Pattern:
        """Add the transpose to links that are known to be valid."""
        t_crow, t_col, permutation = checked(native.transpose, *links)
        plan = _plan_of(links.crow, t_crow, links.nnz)
        return cls(links.crow, links.col, t_crow, t_col, permutation, plan)

    @property
    def links(self) -> Links:
        """The pattern without its transpose."""
        return Links(self.crow, self.col, self.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """``(out_features, in_features)``."""
        return self.crow.numel() - 1, self.t_crow.numel() - 1

    @property
    def nnz(self) -> int:
        """The number of links."""
        return self.col.numel()

    def rows(self) -> Tensor:
        """Return the row of each link, int64 ``[nnz]``."""
        return self.links.rows()

    def dense(self, values: Tensor) -> Tensor:
        """Return the dense matrix of ``values`` on this pattern, for reference implementations."""
        out = values.new_zeros(self.shape)
        return out.index_put((self.rows(), self.col.long()), values)


#: How many tensors a pattern has.
TENSORS = len(Pattern._fields)


def integers(indices: Tensor, name: str, dtype: torch.dtype = torch.int64) -> Tensor:
    """Return ``indices.to(dtype)``, where that changes no entry."""
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise ValueError(f"expected {name} of an integer dtype, found {indices.dtype}")
    converted = indices.to(dtype)
    held, holds = torch.iinfo(indices.dtype), torch.iinfo(dtype)
    if holds.min <= held.min and held.max <= holds.max:
        return converted
    wide = indices.to(torch.int64)  # torch compares uint32 and uint64 with nothing else
    differs = converted != wide
    if held.min == 0:
        differs |= wide < 0
    wrong = differs.nonzero()
    if wrong.numel():
        found = indices[tuple(wrong[0])].item()
        raise ValueError(f"expected {name} that {dtype} can hold, found {found}")
    return converted


def _plan_of(crow: Tensor, t_crow: Tensor, nnz: int) -> Tensor:
    """Return the pieces of long rows, which the warps of a GPU have as their share.

    A row of more than ``most = max(256, nnz // 8192)`` links is cut into pieces of ``most`` links,
    the last of which may have fewer. The result, int32 ``[2, 1 + 2 * places]`` with
    ``places = 2 * (nnz // most)``, has for the matrix and for its transpose the number of pieces,
    the row of each, and the first link of each, and zeros in places that no piece takes. Its shape
    follows from the number of links alone, so that a rewiring can write a new plan in its place.
    """
    most = max(FEWEST_LINKS, nnz // WARPS)
    places = 2 * (nnz // most)
    if places == 0:
        return crow.new_zeros(2, 1, dtype=torch.int32)
    return torch.stack([_pieces(pointers, most, places) for pointers in (crow, t_crow)])


def _pieces(crow: Tensor, most: int, places: int) -> Tensor:
    lengths = crow.diff()
    of_row = torch.where(lengths > most, (lengths + most - 1) // most, 0)
    ends = of_row.cumsum(0)
    place = torch.arange(places, device=crow.device)
    taken = place < ends[-1]
    row = torch.searchsorted(ends, place, right=True) * taken
    first_link = (crow[row] + (place - ends[row] + of_row[row]) * most) * taken
    return torch.cat([ends[-1:], row, first_link]).int()
