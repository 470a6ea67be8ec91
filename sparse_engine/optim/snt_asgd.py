"""Averaged SGD for networks that are rewired."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT
from typing_extensions import override


class SNTASGD(Optimizer):
    """Sparse non-monotonically triggered averaged SGD (Selfish-RNN; Liu et al., ICML 2021).

    This is plain SGD until :meth:`observe` finds that the validation loss no longer falls. From
    then on, the optimizer also keeps the average of every entry of every parameter: the arithmetic
    mean of the entry's values after each of its steps but the first. :meth:`averaged` replaces the
    parameters by their averages for evaluation.

    The ``average`` of an entry and its ``age``, the number of its steps since averaging began, are
    optimizer state of the parameter's shape. A rewiring therefore moves them with the links of a
    :class:`~sparse_engine.nn.SparseWeight`. A new link starts with age 0 and a new average. The
    average at age 0 is the link's current value (0 in the paper, where new links start at 0), and
    at age 1 the value after that step.

    The first parameter group holds the losses and whether averaging has begun, so that
    ``state_dict`` has everything that resuming needs.

    Args:
        params: parameters or groups of them, float32 or float64.
        lr: learning rate, at least 0; constant in the paper.
        weight_decay: factor by which the parameter is added to the gradient, at least 0.
        nonmono: number of latest losses that the trigger ignores, at least 0.

    Raises:
        ValueError: an argument out of range, or parameters of a dtype in which averages and ages
            would not be exact.

    Example:
        >>> optimizer = SNTASGD(model.parameters(), lr=15.0, weight_decay=1.2e-6)
        >>> rewiring = SET(model, optimizer, every=1)  # its steps are epochs here
        >>> for epoch in range(100):
        ...     train(model, optimizer)
        ...     with optimizer.averaged():
        ...         loss = validate(model)
        ...     if not optimizer.observe(loss):
        ...         rewiring.step()
    """

    def __init__(
        self, params: ParamsT, lr: float, *, weight_decay: float = 0.0, nonmono: int = 5
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("nonmono", nonmono)):
            if not value >= 0:
                raise ValueError(f"expected {name} of at least 0, found {value}")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.param_groups[0] |= {"nonmono": nonmono, "losses": [], "averaging": False}

    @override
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.dtype not in (torch.float32, torch.float64):
                raise ValueError(
                    f"expected parameters of float32 or float64, found {parameter.dtype}"
                )

    @property
    def averaging(self) -> bool:
        """Whether averaging has begun."""
        return self.param_groups[0]["averaging"]

    def observe(self, validation_loss: float | Tensor) -> bool:
        """Record a validation loss, and return whether averaging begins now.

        Averaging begins at the first loss that is greater than the smallest earlier loss, where the
        latest ``nonmono`` losses before it are ignored. The paper does not rewire at that moment.

        Raises:
            ValueError: the loss is NaN.
        """
        loss = float(validation_loss)
        if math.isnan(loss):
            raise ValueError("expected a validation loss that is a number, found nan")
        record = self.param_groups[0]
        compared = record["losses"][: max(0, len(record["losses"]) - record["nonmono"])]
        # A new list, because state_dict may have returned the old one.
        record["losses"] = [*record["losses"], loss]
        if self.averaging or not compared or loss <= min(compared):
            return False
        record["averaging"] = True
        return True

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Take a step of SGD, and update the averages once averaging has begun.

        Parameters without a gradient stay as they are, and so do their averages.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad
                if group["weight_decay"]:
                    gradient = gradient.add(parameter, alpha=group["weight_decay"])
                parameter.add_(gradient, alpha=-group["lr"])
                if self.averaging:
                    self._average(parameter)
        return loss

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Replace the parameters by their averages within the block, and restore them after it.

        Before averaging has begun, the parameters keep their values. The block is for evaluation:
        do not step or rewire in it, and clone tensors of ``model.state_dict()`` that you keep,
        because they share the memory of the parameters.
        """
        averages = {parameter: state for parameter, state in self.state.items() if state}
        own = {parameter: parameter.detach().clone() for parameter in averages}
        try:
            with torch.no_grad():
                for parameter, state in averages.items():
                    parameter.copy_(torch.where(state["age"] > 0, state["average"], parameter))
            yield
        finally:
            with torch.no_grad():
                for parameter, values in own.items():
                    parameter.copy_(values)

    def _average(self, parameter: Tensor) -> None:
        state = self.state[parameter]
        if not state:
            state["age"] = torch.zeros_like(parameter)
            state["average"] = torch.zeros_like(parameter)
        age = state["age"].add_(1)
        # With weight 1 up to the second step, lerp gives the parameter itself, bit for bit.
        state["average"].lerp_(parameter, age.sub(1).clamp_(min=1).reciprocal_())
