"""Sign patterns: which links excite and which inhibit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn.options import check_fraction
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.links import sample_groups


class SignInit(ABC):
    """First signs of links. Your own kind of signs is a subclass with one method.

    A :class:`sparse_engine.nn.signs.Signs` keeps signs while a network is trained.
    """

    @abstractmethod
    def signs(self, links: Links, key: RandomKey) -> Tensor:
        """Return ``[nnz]`` of +1 and -1, int8, in row-major order of the links."""


@dataclass(frozen=True)
class RandomSigns(SignInit):
    """Random signs: exactly ``round(positive * nnz)`` uniformly random links are positive.

    Attributes:
        positive: fraction of positive links, in [0, 1].

    Raises:
        ValueError: a fraction outside [0, 1].
    """

    positive: float = 0.5

    def __post_init__(self) -> None:
        check_fraction("positive", self.positive)

    @override
    def signs(self, links: Links, key: RandomKey) -> Tensor:
        return _random_signs(self.positive, links.nnz, key)


@dataclass(frozen=True)
class Dale(SignInit):
    """Dale's law: all links out of a unit, a column, have one sign.

    Exactly ``round(excitatory * in_features)`` uniformly random columns are positive. They follow
    from the number of columns and from the key's seed and step, not from its stream: a unit that
    feeds two weights of a model has one sign in both.

    Attributes:
        excitatory: the fraction of positive columns, in [0, 1].

    Raises:
        ValueError: a fraction outside [0, 1].
    """

    excitatory: float = 0.8

    def __post_init__(self) -> None:
        check_fraction("excitatory", self.excitatory)

    @override
    def signs(self, links: Links, key: RandomKey) -> Tensor:
        unit = _random_signs(self.excitatory, links.in_features, key._replace(stream=0))
        return unit.to(links.col.device)[links.col.long()]


def signed(values: Tensor, links: Links, signs: SignInit, key: RandomKey) -> Tensor:
    """Return the values of links with other signs, ``signs * |values|``.

    Raises:
        ValueError: not one sign for each link.
    """
    drawn = signs.signs(links, key)
    if drawn.shape != values.shape:
        raise ValueError(f"expected {links.nnz} signs from {signs}, found shape {[*drawn.shape]}")
    return values.abs() * drawn.to(values)


def _random_signs(share: float, count: int, key: RandomKey) -> Tensor:
    """Return ``[count]`` signs of which exactly ``round(share * count)`` are +1."""
    signs = np.full(count, -1, np.int8)
    positive = sample_groups([round(share * count)], [count], key.generator(Use.WIRED_SIGNS))[1]
    signs[positive] = 1
    return torch.from_numpy(signs)
