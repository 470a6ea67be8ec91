"""Base class of the rules that make a method: prune, grow and redistribution rules."""

from __future__ import annotations

from typing import Any

#: Memory of a rule: tensors, numbers and strings by name.
State = dict[str, Any]


class Rule:
    """Rule of a method. A rule with a memory overrides both methods."""

    def state_dict(self) -> State:
        """Return the memory, for a checkpoint."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Load a memory that ``state_dict`` returned."""
        if state:
            raise ValueError(f"expected no state for {self}, found {sorted(state)}")
