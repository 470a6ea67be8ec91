"""Averaged SGD for networks whose links come and go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class SNTASGD(Optimizer):
    """Sparse non-monotonically triggered averaged SGD (Selfish-RNN; Liu et al., ICML 2021).

    Plain SGD, until :meth:`observe` finds that the validation loss no longer falls. From then on
    the steps go on as before, and beside them every entry of every parameter has its average: the
    arithmetic mean of its values after each of its steps but the first. :meth:`averaged` puts the
    averages in place of the parameters, for evaluation.

    An entry's ``age``, the number of its steps since, and its ``average`` are optimizer state of
    the parameter's shape, so that they move with the links of a
    :class:`~sparse_engine.nn.SparseWeight` when it is rewired. A new link starts with age 0, which
    restarts its average; a removed one leaves none. At age 0 the average is the value that the
    link has (0 in the paper, where new links start at 0), at age 1 the value after that step.

    The losses seen and whether averaging has begun are in the first parameter group, so that
    ``state_dict`` has everything that resuming needs.

    Args:
        params: parameters or groups of them, float32 or float64.
        lr: learning rate, at least 0; constant in the paper.
        weight_decay: times the parameter, added to the gradient; at least 0.
        nonmono: how many of the latest losses the trigger disregards, at least 0.

    Raises:
        ValueError: an argument out of range, or parameters of another dtype, in which neither an
            average nor an age would be exact.

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

    def add_param_group(self, param_group: dict) -> None:
        """See :meth:`torch.optim.Optimizer.add_param_group`."""
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
        """Records a validation loss; returns whether averaging begins with it.

        It begins at the first loss that has more than ``nonmono`` before it and is greater than
        the least of those but the latest ``nonmono``. The paper does not rewire at that moment.

        Raises:
            ValueError: the loss is NaN, which is greater than nothing.
        """
        loss = float(validation_loss)
        if math.isnan(loss):
            raise ValueError("expected a validation loss that is a number, found nan")
        record = self.param_groups[0]
        compared = record["losses"][: max(0, len(record["losses"]) - record["nonmono"])]
        # A new list each time, for state_dict has handed out the old one.
        record["losses"] = [*record["losses"], loss]
        if self.averaging or not compared or loss <= min(compared):
            return False
        record["averaging"] = True
        return True

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of SGD, and of the averages once averaging has begun.

        Parameters without a gradient are left alone, their averages too.
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
        """Within it the parameters hold their averages; after it their own values, bit for bit.

        Before averaging has begun they hold their own values within it, too. For evaluation only:
        neither step nor rewire there, and clone what you keep of ``model.state_dict()``, which
        shares the parameters' memory.
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
