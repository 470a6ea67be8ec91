"""Training at each step of a sequence, by the learners of sparse_engine.online."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sparse_engine.lab.tasks import Sequences, Step, Task
from sparse_engine.lab.train.ranks import count
from sparse_engine.online import RFLO, RTRL, EProp, Learner, SnAp
from sparse_engine.topology import Rewiring

#: The learners by their names on the command line.
LEARNERS: dict[str, Callable[[Any], Learner]] = {
    "rtrl": RTRL,
    "snap1": SnAp,
    "snap2": partial(SnAp, order=2),
    "rflo": RFLO,
    "eprop": EProp,
}


class Online:
    """Loss of the next step of the sequences of a batch, whose gradient a learner has at once.

    Of sequences of T steps, step n of a run is step ``n % T`` of batch ``n // T`` of the task;
    states and influence begin anew with each batch, and the influence follows the rewiring.

    Raises:
        ValueError: a task without a target for each step, several ranks, dropout of steps, or a
            network that cannot learn online.
    """

    def __init__(self, name: str, task: Task, model: nn.Module, rewiring: Rewiring) -> None:
        # Measures with a washout leave out the first steps of a sequence.
        washout = getattr(task, "washout", 0)
        if not isinstance(task, Sequences) or not task.every_step or washout:
            raise ValueError(
                "expected a task of sequences with a target at each step to learn online, such as "
                f"next-value, found {task.name}"
            )
        if count() > 1:
            raise ValueError(f"expected one process to learn online, found {count()} ranks")
        self.task, self.model = task, model
        if not isinstance(model.step_dropout, nn.Identity):
            raise ValueError("expected step_dropout = 0 to learn online, found more")
        self.learner = LEARNERS[name](model.recurrent)
        self.learner.follow(rewiring)
        examples = next(iter(task.examples.values()))
        if examples.lengths is not None:
            raise ValueError("expected sequences of one length to learn online, found several")
        self._length = examples.inputs.shape[1]
        self._number = -1

    def __call__(self, step: Step) -> Tensor:
        """Return the mean loss of one step of all sequences of a batch."""
        number, time = divmod(step.number, self._length)
        if number != self._number:
            self._number, self._batch = number, self.task.batch(replace(step, number=number))
        x, targets = self._batch.inputs[:, time], self._batch.targets[:, time : time + 1]
        y = self.learner.step(x, resets=torch.full((len(x),), time == 0))
        return self.task.measures(self.model.readout(y).unsqueeze(1), targets)["loss"]  # type: ignore[operator]
