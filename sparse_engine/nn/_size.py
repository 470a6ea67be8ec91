"""Size of a network: its links, its dense numbers, and a warning where these outnumber those."""

from __future__ import annotations

import warnings

from torch import nn

from sparse_engine.nn.weight import SparseWeight

#: Dense input weights below this size are not worth a warning.
MANY = 1_000_000


def numbers_of(network: nn.Module) -> str:
    """Return how many links and dense numbers a network has, and their memory, as text."""
    links, dense = _counts(network)
    held = [*network.parameters(), *network.buffers()]
    size = sum(each.numel() * each.element_size() for each in held)
    return f"{links:,} links, {dense:,} dense numbers, {size:,} bytes"


def warn_of_dense_inputs(network: nn.Module) -> None:
    """Warn of dense input weights that have more numbers than there are links."""
    links, _ = _counts(network)
    own = network.named_parameters(recurse=False)
    dense = sum(each.numel() for name, each in own if name.startswith("weight_ih"))
    if dense > max(links, MANY):
        warnings.warn(
            f"the dense input weights have {dense:,} numbers, and all links together are "
            f"{links:,}: input_density=... makes the input weights sparse, too",
            stacklevel=4,
        )


def _counts(network: nn.Module) -> tuple[int, int]:
    """Return the number of links, and of dense numbers, which belong to no link."""
    weights = [module for module in network.modules() if isinstance(module, SparseWeight)]
    of_links = sum(each.numel() for weight in weights for each in weight.parameters())
    dense = sum(each.numel() for each in network.parameters()) - of_links
    return sum(weight.nnz for weight in weights), dense
