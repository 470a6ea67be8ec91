"""Averages of weights, as of an EMA, that follow the links of a rewired model."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern
from sparse_engine.ops.topology import Rewired, carry
from sparse_engine.topology import topology_hash


class AveragedLinks:
    """Observer of rewirings that keeps an ``AveragedModel`` on the links of its model.

    ``torch.optim.swa_utils.AveragedModel`` averages values by their places in a weight, at which a
    rewiring puts other links. This observer gives the averaged model the same new links: the
    average of a link that stays moves with the link, and that of a new link begins at the link's
    first value.

    With torch's equal average, SWA, the first value of a new link then counts as many times as the
    model has been averaged; :class:`~sparse_engine.optim.SNTASGD` averages each link over its own
    lifetime.

    Args:
        model: the model that is trained, as it was given to ``AveragedModel``.
        averaged: the model of averages, made without ``use_buffers``.

    Raises:
        ValueError: the averaged model lacks a sparse weight of the model or has other links, or it
            averages buffers, which hold the positions of links.

    Example:
        >>> from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
        >>> averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
        >>> rewiring = SET(model, optimizer, observers=[AveragedLinks(model, averaged)])
        >>> for x, y in batches:
        ...     loss(model(x), y).backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        ...     rewiring.step()
        ...     averaged.update_parameters(model)
    """

    def __init__(self, model: nn.Module, averaged: AveragedModel) -> None:
        if averaged.use_buffers:
            raise ValueError(
                "expected an AveragedModel with use_buffers=False, found True: the positions of "
                "links are buffers, of which there is no average"
            )
        copies = dict(averaged.module.named_modules(remove_duplicate=False))
        self.pairs: list[tuple[SparseWeight, SparseWeight]] = []
        for name, weight in model.named_modules():
            if not isinstance(weight, SparseWeight):
                continue
            copy = copies.get(name)
            if not isinstance(copy, SparseWeight) or topology_hash(copy) != topology_hash(weight):
                raise ValueError(
                    f"expected averages of {name or 'the weight'} with the same links, found "
                    f"{copy}; make this observer when the AveragedModel is made or loaded"
                )
            self.pairs.append((weight, copy))

    @torch.no_grad()
    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Move the averages of one weight, as every observer of a rewiring is called."""
        for own, copy in self.pairs:
            if own is not weight:
                continue
            device, born = copy.values.device, rewired.born.long()
            entries = {}
            for each in weight.link_parameters:
                average = getattr(copy, each)
                moved = carry(average, rewired.slot_map.to(device), weight.nnz)
                moved[born.to(device)] = getattr(weight, each)[born].to(moved)
                entries[each] = moved
            copy.set_pattern(Pattern(*(part.clone() for part in weight.pattern)), **entries)
