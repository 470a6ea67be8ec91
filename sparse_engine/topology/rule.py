"""Rule: what all rules of a rewiring have in common."""

from __future__ import annotations

from torch import Tensor

#: A rule's memory: names to tensors, numbers and strings.
State = dict[str, Tensor | float | int | str | bool]


class Rule:
    """Part of a method, perhaps with a memory; rules that have one override both methods."""

    def state_dict(self) -> State:
        """Return the memory, for a checkpoint."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Load a memory that ``state_dict`` returned.

        Raises:
            ValueError: it is not one of this rule.
        """
        if state:
            raise ValueError(f"expected no state for {self}, found {sorted(state)}")
