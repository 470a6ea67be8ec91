"""Base of the networks in continuous time: unfolds, timespans, and the native operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.nn._resets import set_back
from sparse_engine.nn.capture import captures
from sparse_engine.nn.options import COUNT, DURATION, Option
from sparse_engine.nn.sparse_recurrent import Ran, SparseRecurrent
from sparse_engine.ops import Solver
from sparse_engine.ops.continuous import ContinuousOperation
from sparse_engine.ops.ctrnn import ctrnn_and_final


class Continuous(SparseRecurrent):
    """Recurrent network whose state follows a differential equation while each input is held.

    Attributes:
        operation: the native operation, with the differential equation.
        solver: the solver of the equation.
        unfolds: number of steps of the solver for each input.
        dt: length of each of these steps, unless timespans are given.
    """

    options: ClassVar[dict[str, Option]] = {
        **SparseRecurrent.options,
        "unfolds": COUNT,
        "dt": DURATION,
    }
    bf16_devices = ("cpu",)
    resettable = True
    step_inputs = ("dt",)
    operation: ContinuousOperation = ctrnn_and_final
    solver: Solver
    unfolds: int
    dt: float

    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        timespans: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence.
            hx: the initial state h0, ``[num_layers * directions, batch, hidden_size]``, without the
                batch for a single sequence; zeros by default.
            timespans: how long each input is held, ``[steps]`` or of the shape of ``input``
                without features, for sequences that are sampled irregularly: an unfold takes
                ``timespan / unfolds``. By default ``dt * unfolds`` for all. Differentiable. On a
                CUDA device the values are not checked, because the host would have to wait.
            resets: where episodes begin, as in :meth:`Recurrent.forward`.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]``
            (or as ``input`` is laid out), and every layer's final state, of the shape of ``hx``.
            The final state is not rounded where autocast makes the output bfloat16.

        Raises:
            InputError: a shape or dtype does not fit, or there is no step.
            ValueError: a timespan is negative or not finite (unless on a CUDA device).
            TypeError: an input or a state that is no tensor.
        """
        return self.run(input, hx, resets=resets, dt=self._lengths(input, timespans))

    def step(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        timespans: Tensor | Sequence[float] | float | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Take one time step, for streams: :meth:`forward` of a sequence of length 1.

        Args:
            input: ``[batch, input_size]``, or ``[input_size]`` for a single sequence.
            hx: the state that the step before returned, or an initial state as in :meth:`forward`.
            timespans: how long ``input`` is held, one number for all sequences or ``[batch]``. By
                default ``dt * unfolds``. Differentiable.
            resets: which sequences begin an episode, as in :meth:`Recurrent.step`.

        Returns:
            The last layer's output ``[batch, hidden_size]``, and the state for the next step.

        Raises:
            ValueError: a bidirectional network, which needs the whole sequence, a wrong shape, or a
                timespan that is negative or not finite.

        Example:
            >>> state, before = None, 0.0
            >>> for x, now in stream:
            ...     y, state = network.step(x, state, timespans=now - before)
            ...     before = now
        """
        time, batch = self._time_of_step(input), input.shape[:-1]
        if timespans is not None:
            timespans = torch.as_tensor(timespans, dtype=self.dtype, device=input.device)
            if timespans.dim() and timespans.shape != batch:
                shapes = f"[] or {[*batch]}" if batch else "[]"
                raise InputError(
                    f"expected timespans of shape {shapes}, found {[*timespans.shape]}"
                )
            timespans = timespans.expand(batch).unsqueeze(time)
        if resets is not None:
            hx = set_back(hx, resets, input)
        y, hx = self(input.unsqueeze(time), hx, timespans=timespans)
        return y.squeeze(time), hx

    def _lengths(self, x: Tensor, timespans: Tensor | None) -> Any:
        """Return the lengths of unfolds in the layout of ``x``, or None for an invalid ``x``."""
        if not isinstance(x, Tensor) or x.dim() not in (2, 3):
            return None
        of_all = x.shape[:-1]
        if timespans is None:
            return x.new_full(of_all, self.dt, dtype=self.dtype)
        time = 1 if self.batch_first and x.dim() == 3 else 0
        # One by one: torch.compile does not find a shape in a tuple where steps vary.
        if timespans.shape != of_all and timespans.shape != of_all[time : time + 1]:
            shapes = f"[{of_all[time]}]" if x.dim() == 2 else f"[{of_all[time]}] or {[*of_all]}"
            raise InputError(f"expected timespans of shape {shapes}, found {[*timespans.shape]}")
        lengths = timespans.to(self.dtype) / self.unfolds
        if lengths.dim() < len(of_all):
            lengths = lengths.unsqueeze(1 - time)
        return lengths.expand(of_all)

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        return super()._biases(name)[::-1]

    def equation(self, layer: str) -> dict[str, object]:
        """Return the arguments of the operation beside the weight and the solver, by name."""
        return {"rate": None}

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        dt: Tensor,
        resets: Tensor | None = None,
    ) -> Ran:
        """Run one layer, whose unfolds take ``dt``, in one operation."""
        weight, (h0,) = getattr(self, f"weight_hh_{layer}"), state
        method: dict[str, Any] = {
            "unfolds": self.unfolds,
            "solver": self.solver,
            "resets": resets,
            **self.equation(layer),
        }
        if not captures(weight):
            h, h_n = self.operation(x, h0, dt, weight.values, weight.pattern, **method)
            return Ran(h, (h_n,))
        # Every stage captures its own use of the weight. Autocast would round the sums of stages.
        with torch.autocast(x.device.type, enabled=False):
            h0 = None if h0 is None else h0.to(self.dtype)
            h = self.operation.integrate(weight, x.to(self.dtype), h0, dt, **method)
        return Ran(h.to(x.dtype), (h[-1],))

    def _capture(self, *_: object) -> None:
        """Do nothing: each use of the weight has captured its own factors."""
