"""What the networks in continuous time share: unfolds, the time between steps, the native cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.nn._checks import check_integer, check_number
from sparse_engine.nn._sparse_recurrent import SparseRecurrent, notes
from sparse_engine.ops import Solver
from sparse_engine.ops.ctrnn import ctrnn_and_final, integrate


class Continuous(SparseRecurrent):
    """A recurrent network that follows a differential equation while each input is held.

    Attributes:
        solver: the method of integration.
        unfolds: its steps for each input.
        dt: the length of each, where no timespans are given.
        cell_clip: None, or the largest absolute state.
    """

    settings = (*SparseRecurrent.settings, "unfolds", "dt")
    narrow = ("cpu",)
    # The times that are still to come go from one part of a sequence to the next, like a state.
    states = ("h0", "dt")
    solver: Solver
    cell_clip: float | None = None

    def forward(
        self, input: Tensor, hx: Tensor | None = None, *, timespans: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence.
            hx: the initial state h0, ``[num_layers * directions, batch, hidden_size]``, without the
                batch for a single sequence; zeros by default.
            timespans: how long each input is held, ``[steps]`` or of the shape of ``input``
                without features, for sequences that are sampled irregularly: an unfold takes
                ``timespan / unfolds``. By default ``dt * unfolds`` for all. Differentiable. Their
                values are not checked on a CUDA device, for which the host would have to wait.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]``
            (or as ``input`` is laid out), and every layer's final state, of the shape of ``hx``:
            not rounded where autocast makes the output bfloat16.

        Raises:
            InputError: a shape or dtype does not fit, or there is no step.
            ValueError: a timespan is negative or not finite (unless on a CUDA device).
            TypeError: an input or a state that is no tensor.
        """
        y, h_n, _ = self._run(input, hx, self._lengths(input, timespans))
        return y, h_n

    def step(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        timespans: Tensor | Sequence[float] | float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One time step, for streams: what :meth:`forward` does with a sequence of length 1.

        Args:
            input: ``[batch, input_size]``, or ``[input_size]`` for a single sequence.
            hx: what the step before returned, or an initial state as :meth:`forward` takes it.
            timespans: how long ``input`` is held: one number for all sequences, or ``[batch]``. By
                default ``dt * unfolds``. Differentiable.

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
            timespans = torch.as_tensor(timespans, dtype=self._dtype, device=input.device)
            if timespans.dim() and timespans.shape != batch:
                shapes = f"[] or {[*batch]}" if batch else "[]"
                raise InputError(
                    f"expected timespans of shape {shapes}, found {[*timespans.shape]}"
                )
            timespans = timespans.expand(batch).unsqueeze(time)
        y, hx = self(input.unsqueeze(time), hx, timespans=timespans)
        return y.squeeze(time), hx

    def _configure(self, settings: Mapping[str, object]) -> None:
        super()._configure(settings)
        check_integer("unfolds", self.unfolds, least=1)
        check_number("finite dt > 0", self.dt, lambda dt: 0 < dt < math.inf)
        if not isinstance(self.solver, Solver):
            raise TypeError(f"expected solver to be a Solver, found {self.solver!r}")

    def _lengths(self, x: Tensor, timespans: Tensor | None) -> Tensor | None:
        """Of the unfolds, laid out as ``x`` is; None where ``x`` is none that can be run."""
        if not isinstance(x, Tensor) or x.dim() not in (2, 3):
            return None
        of_all = x.shape[:-1]
        if timespans is None:
            return x.new_full(of_all, self.dt, dtype=self._dtype)
        time = 1 if self.batch_first and x.dim() == 3 else 0
        # One by one: torch.compile does not find a shape in a tuple where steps vary.
        if timespans.shape != of_all and timespans.shape != of_all[time : time + 1]:
            shapes = f"[{of_all[time]}]" if x.dim() == 2 else f"[{of_all[time]}] or {[*of_all]}"
            raise InputError(f"expected timespans of shape {shapes}, found {[*timespans.shape]}")
        lengths = timespans.to(self._dtype) / self.unfolds
        if lengths.dim() < len(of_all):
            lengths = lengths.unsqueeze(1 - time)
        return lengths.expand(of_all)

    def _initial(
        self, name: str, state: Tensor | None, batch: int, single: bool
    ) -> tuple[Tensor, ...] | list[Tensor] | list[None]:
        if name != "dt":
            return super()._initial(name, state, batch, single)
        if single:
            state = state.unsqueeze(1)
        elif self.batch_first:
            state = state.transpose(0, 1)
        return [state, state.flip(0)][: self._directions] * self.num_layers

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        return super()._biases(name)[::-1]

    def _rate(self, name: str) -> Tensor | None:
        """How fast the state of a layer decays: one over its time constants."""
        return None

    def _cell(
        self,
        name: str,
        x: Tensor,
        w_input: Tensor | None,
        initial: tuple[Tensor | None, ...],
        bias: Tensor | None,
    ) -> tuple[Tensor, ...]:
        weight, (h0, dt) = getattr(self, f"weight_hh_{name}"), initial
        now, to_come = dt.tensor_split([x.shape[0]])
        method = {
            "rate": self._rate(name),
            "unfolds": self.unfolds,
            "solver": self.solver,
            "clip": self.cell_clip,
        }
        if not notes(weight):
            arguments = x, h0, now, weight.values, weight.pattern
            return *ctrnn_and_final(*arguments, **method), to_come
        # Each stage uses the weight, and notes it; autocast would round what adds up the stages.
        with torch.autocast(x.device.type, enabled=False):
            h0 = None if h0 is None else h0.to(self._dtype)
            h = integrate(weight, x.to(self._dtype), h0, now, **method)
        return h.to(x.dtype), h[-1], to_come
