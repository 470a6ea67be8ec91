"""Positions of a matrix and links at these positions."""

from __future__ import annotations

import hashlib
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight, _initial
from sparse_engine.ops import Links, rewire


def gate_blocks(weight: SparseWeight, links: Links) -> list[Links]:
    """Return the links of each gate separately; in CSR order they are consecutive.

    Args:
        weight: the weight whose ``blocks`` are the gates.
        links: links of a matrix of the weight's shape.
    """
    edges = links.crow[[*accumulate(weight.blocks, initial=0)]].tolist()
    blocks, first = [], 0
    for rows, (start, end) in zip(weight.blocks, pairwise(edges), strict=True):
        crow = links.crow[first : first + rows + 1] - start
        blocks.append(Links(crow, links.col[start:end], links.in_features))
        first += rows
    return blocks


def links_hash(links: Links) -> str:
    """Return the hash of links that :func:`~sparse_engine.topology.topology_hash` describes."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.array((links.crow.numel() - 1, links.in_features), "<i8").data)
    digest.update(np.ascontiguousarray(links.crow.cpu().numpy(), "<i8").data)
    digest.update(np.ascontiguousarray(links.col.cpu().numpy(), "<i4").data)
    return digest.hexdigest()


def links_at(positions: Tensor, out_features: int, in_features: int) -> Links:
    """Return the links at given positions.

    Args:
        positions: int64, ``row * in_features + column``, in any order.
        out_features: rows.
        in_features: columns.

    Raises:
        ValueError: a position outside the matrix, or one that is given twice.
    """
    empty = _initial.no_links(out_features, in_features, positions.device)
    return rewire(empty, positions.new_empty(0, dtype=torch.bool), positions.sort().values).links


def union(known: Tensor, positions: Tensor) -> Tensor:
    """Return all positions of two increasing int64 tensors, increasing and each once.

    Equals ``torch.cat([known, positions]).unique()``, on the CPU and in linear time.
    """
    both = np.concatenate([known, positions])
    # The stable sort merges the two sorted runs in linear time.
    both.sort(kind="stable")
    return torch.from_numpy(both).unique_consecutive()
