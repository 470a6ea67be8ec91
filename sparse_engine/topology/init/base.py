"""Base class of wirings: where the links of a fresh weight are."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sparse_engine.ops import Links, RandomKey


class Wiring(ABC):
    """Wiring of a fresh weight: where its links are. Your own wiring is a subclass with one method.

    Example:
        >>> class Diagonal(Wiring):
        ...     def links(self, out_features, in_features, key):
        ...         unit = torch.arange(min(out_features, in_features))
        ...         return links_at(unit * in_features + unit, out_features, in_features)
    """

    @abstractmethod
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """Return the links of an ``out_features x in_features`` weight.

        Args:
            out_features: rows, the target units.
            in_features: columns, the source units.
            key: a stream of random numbers; equal keys give equal links.

        Raises:
            ValueError: a weight of this shape cannot be wired so.
        """
